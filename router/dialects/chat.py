"""`/v1/chat/completions`."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from core import wire
from core.errors import InvalidRequestError, UpstreamError
from core.templates import text_of
from router.dialects.base import (
    Dialect,
    Heard,
    LabelAnswer,
    Part,
    Request,
    estimate_tokens,
    renamed,
    upstream_failure,
)


class _Message(msgspec.Struct, gc=False):
    role: Any = None
    content: Any = None
    tool_calls: Any = None
    tool_call_id: Any = None
    function_call: Any = None
    audio: Any = None


class _Body(wire.ChatRequest):
    messages: list[_Message]
    max_tokens: wire.Count | None = None
    max_completion_tokens: wire.Count | None = None
    safety_identifier: str | None = None


_decoder: Final = msgspec.json.Decoder(_Body)


class ChatDialect(Dialect):
    """Chat completions: what students and most teachers speak."""

    name = "chat"
    path = "/v1/chat/completions"
    upstream_path = "chat/completions"

    def decode(self, body: bytes) -> Request:
        """Read a request. Raises InvalidRequestError that names the field at fault."""
        found = wire.decode_body(_decoder, body)
        if not found.messages:
            raise InvalidRequestError("messages is empty; send at least one message", param="messages")
        top = found.top_logprobs
        if top is not None and not 0 <= top <= wire.MAX_TOP_LOGPROBS:
            raise InvalidRequestError(
                f"top_logprobs must be between 0 and {wire.MAX_TOP_LOGPROBS}", param="top_logprobs"
            )
        options = found.stream_options
        return Request(
            found.model,
            None if found.beyond_classifier else _pairs(found.messages),
            bool(found.stream),
            options is not None and bool(options.include_usage),
            (top or 0) if found.logprobs else None,
            found.user or found.safety_identifier or "",
            found.max_tokens if found.max_completion_tokens is None else found.max_completion_tokens,
            estimate_tokens(body),
        )

    def upstream_body(self, body: bytes, request: Request, model: str) -> bytes:
        """Replace the model's name, and ask for the closing usage chunk of a stream."""
        if request.stream and not request.wants_usage_chunk:
            return wire.ask_for_usage(body, model)
        return renamed(body, request, model)

    def student_body(self, body: bytes, request: Request, task: str) -> bytes:
        """The client's own body, under the task's name."""
        return body if request.model == task else wire.replace_model(body, task)

    def whole(self, request: Request, answer: LabelAnswer) -> bytes:
        """Render a chat completion."""
        return wire.completion_body(
            identifier=answer.id,
            model=request.model,
            label=answer.label,
            usage=answer.usage,
            distribution=None if request.logprobs is None else answer.distribution,
            top=request.logprobs or 0,
            vendor=answer.vendor,
        )

    def events(self, request: Request, answer: LabelAnswer) -> bytes:
        """Render the chunks of a chat completion, and `[DONE]`."""
        events = wire.completion_events(
            identifier=answer.id,
            model=request.model,
            label=answer.label,
            usage=answer.usage,
            include_usage=request.wants_usage_chunk,
            distribution=None if request.logprobs is None else answer.distribution,
            top=request.logprobs or 0,
            vendor=answer.vendor,
        )
        return b"".join(events)

    def read(self, body: bytes) -> wire.Completion:
        """Read a chat completion. Raises UpstreamError where it is none."""
        try:
            return wire.decode_completion(body)
        except (ValueError, RecursionError) as error:
            raise UpstreamError("the upstream's answer is not a chat completion") from error

    def hear(self, data: bytes, heard: Heard) -> Part:
        """Read a chunk. Raises UpstreamError where it is none, or holds an error."""
        if data == b"[DONE]":
            return Part.DONE
        try:
            chunk = wire.decode_chunk(data)
        except (ValueError, RecursionError) as error:
            raise UpstreamError("the upstream's stream holds something that is not a chunk") from error
        if chunk.error is not None:
            raise upstream_failure(chunk.error)
        if not heard.id:
            heard.id, heard.model = chunk.id, chunk.model
        if chunk.tutelage is not None:
            heard.vendor = chunk.tutelage
        for choice in chunk.choices:
            content = choice.delta.content
            if isinstance(content, str):
                heard.pieces.append(content)
        if chunk.usage is None:
            return Part.CONTENT
        heard.usage = wire.counted(chunk.usage.prompt_tokens, chunk.usage.completion_tokens)
        return Part.CONTENT if chunk.choices else Part.USAGE


def _pairs(messages: list[_Message]) -> list[tuple[str, str]] | None:
    pairs: list[tuple[str, str]] = []
    for message in messages:
        role, content = message.role, message.content
        if type(content) is not str:
            content = text_of(content)
        if content is None or type(role) is not str or message.tool_calls or message.tool_call_id:
            return None
        if message.function_call or message.audio:
            return None
        pairs.append((role, content))
    return pairs
