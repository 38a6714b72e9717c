"""A teacher for tests: a real HTTP server that speaks OpenAI's protocol, and misbehaves when told to.

It is an ASGI app for `tests.support.processes.asgi_server`. What it answers is data: `behaviour` says what.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from tests.support import openai_answers


@dataclass
class Teacher:
    """What the server was asked, and how it should behave."""

    label: str = "refund_status"
    behaviour: str = "answer"
    logprobs: dict[str, float] = field(default_factory=dict)
    prompt_tokens: int = 7
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    cancelled: threading.Event = field(default_factory=threading.Event)

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] == "lifespan":
            for kind in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{kind}.complete"})
            return
        if scope["method"] == "GET":
            await _json(send, 200, {"object": "list", "data": []})
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        request = json.loads(body)
        self.requests.append(request)
        self.paths.append(scope["path"])
        self.headers.append({name.decode(): value.decode() for name, value in scope["headers"]})
        if request.get("stream"):
            await self._stream(scope["path"], request, receive, send)
        else:
            await self._plain(scope["path"], request, receive, send)

    async def _plain(self, path, request, receive, send) -> None:
        if self.behaviour == "slow":
            await asyncio.sleep(1.0)
        if self.behaviour == "error":
            await _json(send, 429, {"error": {"message": "too fast", "type": "rate_limit_error", "code": 429}})
        elif self.behaviour == "no_credit":
            error = {"message": "you are out of credit", "type": "insufficient_quota", "code": "insufficient_quota"}
            await _json(send, 429, {"error": error})
        elif self.behaviour == "rubbish":
            await _json(send, 200, ["this", "is", "no", "completion"])
        elif self.behaviour == "hang":
            await self._hang(receive)
        elif (elsewhere := openai_answers.whole(path, request, self.label, self.prompt_tokens)) is not None:
            await _json(send, 200, elsewhere)
        else:
            choice: dict[str, Any] = {
                "index": 0,
                "message": {"role": "assistant", "content": self.label},
                "finish_reason": "stop",
            }
            if self.logprobs:
                tops = [{"token": token, "logprob": value, "bytes": None} for token, value in self.logprobs.items()]
                choice["logprobs"] = {"content": [{"token": self.label, "logprob": -0.1, "top_logprobs": tops}]}
            usage = {
                "prompt_tokens": self.prompt_tokens,
                "completion_tokens": 2,
                "total_tokens": self.prompt_tokens + 2,
            }
            answer = {
                "id": "chatcmpl-teacher",
                "object": "chat.completion",
                "created": int(time.time()),
                "model": request["model"],
                "choices": [choice],
                "usage": usage,
                "a_field_of_tomorrow": {"kept": True},
            }
            await _json(send, 200, answer)

    async def _stream(self, path, request, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        if self.behaviour == "hang":
            await self._hang(receive)
            return
        if self.behaviour == "flood":
            await self._flood(send, receive)
            return
        if self.behaviour == "cut_early":
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        elsewhere = openai_answers.events(path, request, self.label, self.prompt_tokens)
        if elsewhere is not None:
            await send({"type": "http.response.body", "body": "".join(elsewhere).encode(), "more_body": False})
            return
        head = {"id": "chatcmpl-stream", "object": "chat.completion.chunk", "created": 1, "model": request["model"]}
        middle = len(self.label) // 2
        for piece in (self.label[:middle], self.label[middle:]):
            chunk = head | {"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]}
            await _event(send, json.dumps(chunk))
            if self.behaviour == "cut":
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                return
            if self.behaviour == "stall":
                await self._hang(receive)
                return
            await asyncio.sleep(0.005)
        await _event(send, json.dumps(head | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}))
        if (request.get("stream_options") or {}).get("include_usage"):
            usage = {
                "prompt_tokens": self.prompt_tokens,
                "completion_tokens": 2,
                "total_tokens": self.prompt_tokens + 2,
            }
            await _event(send, json.dumps(head | {"choices": [], "usage": usage}))
        await _event(send, "[DONE]")
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _flood(self, send, receive) -> None:
        """Events without end, as fast as they are taken."""
        leaving = asyncio.create_task(self._hang(receive))
        event = json.dumps({"id": "x", "choices": [{"index": 0, "delta": {"content": "x" * 4096}}]})
        while not leaving.done():
            await _event(send, event)
            await asyncio.sleep(0)
        await leaving

    async def _hang(self, receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.cancelled.set()


async def _json(send, status: int, document: Any) -> None:
    body = json.dumps(document).encode()
    head = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})


async def _event(send, data: str) -> None:
    await send({"type": "http.response.body", "body": f"data: {data}\n\n".encode(), "more_body": True})
