"""`/v1/completions`: a prompt is read as one message of a user's."""

from __future__ import annotations

import time
from typing import Any, Final

import msgspec

from core import wire
from core.errors import UpstreamError
from core.records import Usage
from router.dialects.base import (
    Dialect,
    Heard,
    LabelAnswer,
    Part,
    Request,
    chat_body,
    estimate_tokens,
    renamed,
    upstream_failure,
)


class _Body(msgspec.Struct):
    model: str
    prompt: Any = None
    stream: bool | None = False
    stream_options: wire.StreamOptions | None = None
    logprobs: wire.Count | None = None
    n: wire.Count | None = 1
    best_of: wire.Count | None = 1
    echo: bool | None = False
    suffix: str | None = None
    response_format: Any = None
    max_tokens: wire.Count | None = None
    user: str | None = None

    def text(self) -> str | None:
        """The prompt, where it is one text and nothing is asked for that a classifier cannot do."""
        if (self.n or 1) != 1 or (self.best_of or 1) != 1 or self.echo or self.suffix:
            return None
        if self.response_format not in (None, {"type": "text"}):
            return None
        prompt = self.prompt
        if isinstance(prompt, list) and len(prompt) == 1:
            prompt = prompt[0]
        return prompt if isinstance(prompt, str) else None


class _Count(msgspec.Struct):
    prompt_tokens: int | None = 0
    completion_tokens: int | None = 0

    def usage(self) -> Usage:
        return wire.counted(self.prompt_tokens, self.completion_tokens)


class _Logprobs(msgspec.Struct):
    top_logprobs: list[dict[str, float | None] | None] | None = None


class _Choice(msgspec.Struct):
    text: str | None = ""
    logprobs: _Logprobs | None = None

    def first_token(self) -> dict[str, float]:
        tops = self.logprobs.top_logprobs if self.logprobs is not None else None
        first = (tops[0] if tops else None) or {}
        return {token: logprob for token, logprob in first.items() if logprob is not None}


class _Completion(msgspec.Struct):
    choices: list[_Choice]
    id: str = ""
    model: str = ""
    usage: _Count | None = None
    error: Any = None


class _Chunk(_Completion):
    choices: list[_Choice] = []


_decoder: Final = msgspec.json.Decoder(_Body)
_completion_decoder: Final = msgspec.json.Decoder(_Completion)
_chunk_decoder: Final = msgspec.json.Decoder(_Chunk)


class CompletionsDialect(Dialect):
    """Text completions, the older of OpenAI's two."""

    name = "completions"
    path = "/v1/completions"
    upstream_path = "completions"
    operation = "text_completion"

    def decode(self, body: bytes) -> Request:
        """Read a request. Raises InvalidRequestError that names the field at fault."""
        found = wire.decode_body(_decoder, body)
        text = found.text()
        options = found.stream_options
        return Request(
            found.model,
            None if text is None else [("user", text)],
            bool(found.stream),
            options is not None and bool(options.include_usage),
            found.logprobs,
            found.user or "",
            found.max_tokens,
            estimate_tokens(body),
        )

    def upstream_body(self, body: bytes, request: Request, model: str) -> bytes:
        """Replace the model's name, and ask for the closing usage chunk of a stream."""
        if request.stream and not request.wants_usage_chunk:
            return wire.ask_for_usage(body, model)
        return renamed(body, request, model)

    def student_body(self, body: bytes, request: Request, task: str) -> bytes:  # noqa: ARG002  # only chat passes it on
        """The prompt as a chat request."""
        return chat_body(request, task)

    def whole(self, request: Request, answer: LabelAnswer) -> bytes:
        """Render a text completion."""
        document = _head(request, answer)
        document["usage"] = wire.usage_object(answer.usage)
        if answer.vendor is not None:
            document["tutelage"] = answer.vendor
        return wire.encode_json(document)

    def events(self, request: Request, answer: LabelAnswer) -> bytes:
        """Render one chunk with the label, the usage where it was asked for, and `[DONE]`."""
        chunk = _head(request, answer)
        if answer.vendor is not None:
            chunk["tutelage"] = answer.vendor
        if not request.wants_usage_chunk:
            return wire.event(wire.encode_json(chunk)) + wire.DONE
        closing = _head(request, answer) | {"choices": [], "usage": wire.usage_object(answer.usage)}
        events = (wire.event(wire.encode_json(chunk | {"usage": None})), wire.event(wire.encode_json(closing)))
        return b"".join((*events, wire.DONE))

    def read(self, body: bytes) -> wire.Completion:
        """Read a text completion. Raises UpstreamError where it is none."""
        try:
            found = _completion_decoder.decode(body)
        except (ValueError, RecursionError) as error:
            raise UpstreamError("the upstream's answer is not a completion") from error
        choice = found.choices[0] if found.choices else _Choice(None)
        return wire.Completion.of_text(
            choice.text,
            identifier=found.id,
            model=found.model,
            usage=(found.usage or _Count()).usage(),
            first_token=choice.first_token(),
        )

    def hear(self, data: bytes, heard: Heard) -> Part:
        """Read a chunk. Raises UpstreamError where it is none, or holds an error."""
        if data == b"[DONE]":
            return Part.DONE
        try:
            chunk = _chunk_decoder.decode(data)
        except (ValueError, RecursionError) as error:
            raise UpstreamError("the upstream's stream holds something that is not a chunk") from error
        if chunk.error is not None:
            raise upstream_failure(chunk.error)
        if not heard.id:
            heard.id, heard.model = chunk.id, chunk.model
        heard.pieces += [choice.text for choice in chunk.choices if choice.text]
        if chunk.usage is None:
            return Part.CONTENT
        heard.usage = chunk.usage.usage()
        return Part.CONTENT if chunk.choices else Part.USAGE


def _head(request: Request, answer: LabelAnswer) -> dict[str, Any]:
    choice = {"index": 0, "text": answer.label, "logprobs": _logprobs(request, answer), "finish_reason": "stop"}
    return {
        "id": answer.id,
        "object": "text_completion",
        "created": int(time.time()),
        "model": request.model,
        "choices": [choice],
    }


def _logprobs(request: Request, answer: LabelAnswer) -> dict[str, Any] | None:
    """The label as one token: its log-probability, and those of the likeliest labels."""
    if request.logprobs is None:
        return None
    found = wire.token_logprobs(answer.label, answer.distribution, request.logprobs)
    tops = {top["token"]: top["logprob"] for top in found["top_logprobs"]}
    return {
        "tokens": [answer.label],
        "token_logprobs": [found["logprob"]],
        "top_logprobs": [tops | {answer.label: found["logprob"]}],
        "text_offset": [0],
    }
