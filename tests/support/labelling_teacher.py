"""A teacher that knows a few words, for labelling: an ASGI app for `tests.support.processes.asgi_server`.

`script` holds what it does to the first requests, one entry each: a status with its headers and body. After that it
answers with the label whose cue word the message holds.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

CUES = {"order": "parcel", "refund": "money", "praise": "thanks"}


@dataclass
class LabellingTeacher:
    """What it was asked, and how it behaves."""

    script: list[tuple[int, dict[str, str], dict[str, Any]]] = field(default_factory=list)
    refuses_logprobs: bool = False
    with_logprobs: bool = False
    usage: dict[str, int] | None = field(default_factory=lambda: {"prompt_tokens": 10, "completion_tokens": 1})
    pause: float = 0.0
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    authorization: set[str] = field(default_factory=set)
    under_way: int = 0
    most_under_way: int = 0

    @property
    def texts(self) -> list[str]:
        return [request["messages"][-1]["content"] for request in self.requests]

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] == "lifespan":
            for kind in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{kind}.complete"})
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.headers.append(headers)
        self.authorization.add(headers.get("authorization", ""))
        request = json.loads(body)
        self.requests.append(request)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await asyncio.sleep(self.pause)
            status, extra, document = self._answer(request)
        finally:
            self.under_way -= 1
        head = [(b"content-type", b"application/json"), *((k.encode(), v.encode()) for k, v in extra.items())]
        await send({"type": "http.response.start", "status": status, "headers": head})
        await send({"type": "http.response.body", "body": json.dumps(document).encode()})

    def _answer(self, request) -> tuple[int, dict[str, str], Any]:
        if self.script:
            return self.script.pop(0)
        if self.refuses_logprobs and request.get("logprobs"):
            return 400, {}, {"error": {"message": "logprobs are not supported by this model"}}
        text = request["messages"][-1]["content"]
        label = next((name for name, cue in CUES.items() if cue in text), "I cannot say")
        choice: dict[str, Any] = {"index": 0, "message": {"role": "assistant", "content": label}}
        if self.with_logprobs and request.get("logprobs"):
            tops = [{"token": name, "logprob": -0.1 if name == label else -3.0} for name in CUES]
            choice["logprobs"] = {"content": [{"token": label, "logprob": -0.1, "top_logprobs": tops}]}
        return 200, {}, {"id": "c", "model": "m", "choices": [choice], "usage": self.usage}
