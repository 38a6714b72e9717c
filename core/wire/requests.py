"""What clients send: chat requests and feedback."""

from __future__ import annotations

from typing import Any

import msgspec

from core.errors import InvalidRequestError
from core.wire.counts import Count
from core.wire.encoding import decode_body
from core.wire.rendering import MAX_TOP_LOGPROBS


class StreamOptions(msgspec.Struct):
    """`stream_options` of a chat request."""

    include_usage: bool | None = False


class ChatRequest(msgspec.Struct):
    """What we read of a chat request. Whatever else it holds is passed on untouched."""

    model: str
    messages: list[Any]
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    n: Count | None = 1
    logprobs: bool | None = False
    top_logprobs: int | None = None
    tools: list[Any] | None = None
    functions: list[Any] | None = None
    response_format: Any = None
    user: str | None = None
    audio: Any = None
    web_search_options: Any = None

    @property
    def wants_usage_chunk(self) -> bool:
        """Whether a streamed answer ends with a chunk that holds the usage."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    @property
    def beyond_classifier(self) -> bool:
        """Whether it asks for what a classifier cannot do: tools, searching, sound, a format, several answers."""
        return bool(
            self.tools
            or self.functions
            or (self.n or 1) != 1
            or (self.response_format is not None and self.response_format != {"type": "text"})
            or self.audio is not None
            or self.web_search_options is not None
        )


class FeedbackRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /v1/feedback`. `exchange` is our id (header `x-tutelage-exchange`) or the completion's `id`."""

    exchange: str
    label: str
    model: str | None = None
    comment: str = ""


_chat_decoder = msgspec.json.Decoder(ChatRequest)
_feedback_decoder = msgspec.json.Decoder(FeedbackRequest)


def decode_chat_request(body: bytes) -> ChatRequest:
    """Decode a chat request. Raises InvalidRequestError that names the field at fault."""
    request = decode_body(_chat_decoder, body)
    if not request.messages:
        raise InvalidRequestError("messages is empty; send at least one message", param="messages")
    if request.top_logprobs is not None and not 0 <= request.top_logprobs <= MAX_TOP_LOGPROBS:
        raise InvalidRequestError(f"top_logprobs must be between 0 and {MAX_TOP_LOGPROBS}", param="top_logprobs")
    return request


def decode_feedback(body: bytes) -> FeedbackRequest:
    """Decode feedback. Raises InvalidRequestError that names the field at fault."""
    return decode_body(_feedback_decoder, body)
