"""OpenAI's shapes on the wire, shared by the gateway and the student server.

Reading: only the fields that we need are decoded; everything else stays in the original bytes, so that a field which
OpenAI adds tomorrow passes through today. Writing: a classifier's answer as an ordinary chat completion, whole or as
server-sent events, and errors in OpenAI's shape.
"""

from __future__ import annotations

import base64
import math
import time
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import msgspec

from core.errors import ApiError, InvalidRequestError
from core.labels import LabelSet, unpack_floats
from core.records import StudentAnswer, Usage

T = TypeVar("T")

MAX_TOP_LOGPROBS = 20
"""OpenAI offers at most this many alternatives a token."""

_FLOOR = 1e-7
"""Probabilities are floored here before the logarithm: JSON has no minus infinity."""


class StreamOptions(msgspec.Struct):
    """`stream_options` of a chat request."""

    include_usage: bool = False


class ChatRequest(msgspec.Struct):
    """What we read of a chat request. Whatever else it holds is passed on untouched."""

    model: str
    messages: list[Any]
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    n: int | None = 1
    logprobs: bool | None = False
    top_logprobs: int | None = None
    tools: list[Any] | None = None
    functions: list[Any] | None = None
    response_format: Any = None
    user: str | None = None

    @property
    def wants_usage_chunk(self) -> bool:
        """Whether a streamed answer ends with a chunk that holds the usage."""
        return self.stream_options is not None and self.stream_options.include_usage

    @property
    def beyond_classifier(self) -> bool:
        """Whether it asks for something that a classifier cannot do: tools, a format of its own, several answers."""
        return bool(
            self.tools or self.functions or (self.n or 1) != 1 or self.response_format not in (None, {"type": "text"})
        )


class VendorField(msgspec.Struct, omit_defaults=True):
    """The field `tutelage` of a student's completion: what the gateway needs beyond OpenAI's shape.

    `distribution` and `vector` are base64 of packed float16 (see `core.labels.pack_floats`).
    """

    version: str
    label: str
    confidence: float
    label_set: str
    distribution: str = ""
    vector: str = ""

    def answer(self) -> StudentAnswer:
        """The same as a record."""
        return StudentAnswer(
            version=self.version,
            label=self.label,
            confidence=self.confidence,
            label_set=self.label_set,
            distribution=base64.b64decode(self.distribution),
            vector=base64.b64decode(self.vector),
        )

    def expanded(self, labels: LabelSet) -> dict[str, Any]:
        """The field as a client reads it: the distribution as an object from label to probability."""
        probabilities = unpack_floats(base64.b64decode(self.distribution))
        expanded: dict[str, Any] = {"version": self.version, "label": self.label, "confidence": self.confidence}
        if len(probabilities) == len(labels):
            expanded["distribution"] = dict(zip(labels.names, probabilities, strict=True))
        return expanded


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = 0
    completion_tokens: int | None = 0


class _Message(msgspec.Struct):
    content: Any = None


class _TopLogprob(msgspec.Struct):
    token: str
    logprob: float


class _TokenLogprob(msgspec.Struct):
    token: str
    logprob: float
    top_logprobs: list[_TopLogprob] = []


class _Logprobs(msgspec.Struct):
    content: list[_TokenLogprob] | None = None


class _Choice(msgspec.Struct):
    message: _Message = msgspec.field(default_factory=_Message)
    logprobs: _Logprobs | None = None
    finish_reason: str | None = None


class Completion(msgspec.Struct):
    """What we read of a chat completion."""

    choices: list[_Choice]
    id: str = ""
    model: str = ""
    usage: _Usage | None = None
    tutelage: VendorField | None = None

    @property
    def content(self) -> str | None:
        """Text of the first choice, or None."""
        content = self.choices[0].message.content if self.choices else None
        return content if isinstance(content, str) else None

    @property
    def tokens(self) -> Usage:
        """Tokens as counted by whoever answered; zeros where it did not say."""
        usage = self.usage or _Usage()
        return Usage(usage.prompt_tokens or 0, usage.completion_tokens or 0)

    @property
    def first_token_logprobs(self) -> dict[str, float]:
        """Log-probabilities of the alternatives for the first token of the first choice; empty where not offered."""
        logprobs = self.choices[0].logprobs if self.choices else None
        if logprobs is None or not logprobs.content:
            return {}
        first = logprobs.content[0]
        return {top.token: top.logprob for top in first.top_logprobs} or {first.token: first.logprob}


class _Delta(msgspec.Struct):
    content: str | None = None


class _ChunkChoice(msgspec.Struct):
    delta: _Delta = msgspec.field(default_factory=_Delta)
    finish_reason: str | None = None


class Chunk(msgspec.Struct):
    """What we read of a chunk of a streamed completion."""

    choices: list[_ChunkChoice] = []
    id: str = ""
    model: str = ""
    usage: _Usage | None = None
    error: Any = None
    tutelage: VendorField | None = None


class FeedbackRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /v1/feedback`. `exchange` is our id (header `x-tutelage-exchange`) or the completion's `id`."""

    exchange: str
    label: str
    model: str | None = None
    comment: str = ""


_chat_decoder = msgspec.json.Decoder(ChatRequest)
_completion_decoder = msgspec.json.Decoder(Completion)
_chunk_decoder = msgspec.json.Decoder(Chunk)
_feedback_decoder = msgspec.json.Decoder(FeedbackRequest)
_encoder = msgspec.json.Encoder()

encode_json = _encoder.encode


def decode_chat_request(body: bytes) -> ChatRequest:
    """Decode a chat request. Raises InvalidRequestError that names the field at fault."""
    request = _decode(_chat_decoder, body)
    if not request.messages:
        raise InvalidRequestError("messages is empty; send at least one message", param="messages")
    if request.top_logprobs is not None and not 0 <= request.top_logprobs <= MAX_TOP_LOGPROBS:
        raise InvalidRequestError(f"top_logprobs must be between 0 and {MAX_TOP_LOGPROBS}", param="top_logprobs")
    return request


def decode_feedback(body: bytes) -> FeedbackRequest:
    """Decode feedback. Raises InvalidRequestError that names the field at fault."""
    return _decode(_feedback_decoder, body)


def decode_completion(body: bytes) -> Completion:
    """Decode what we need of an upstream's completion. Raises ValueError where it is none."""
    return _completion_decoder.decode(body)  # msgspec's errors are ValueErrors


def decode_chunk(data: bytes) -> Chunk:
    """Decode what we need of one chunk of a stream. Raises ValueError where it is none."""
    return _chunk_decoder.decode(data)


def replace_model(body: bytes, model: str, **fields: Any) -> bytes:
    """Return `body` with its `model`, and any further top-level `fields`, replaced; all else is kept byte for byte."""
    document: dict[str, Any] = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    document["model"] = model
    document.update(fields)
    return _encoder.encode(document)


def without_field(body: bytes, name: str) -> bytes:
    """Return `body` without its top-level field `name`; all else is kept byte for byte."""
    document: dict[str, Any] = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    document.pop(name, None)
    return _encoder.encode(document)


def ask_for_usage(body: bytes, model: str) -> bytes:
    """Return a streamed request's `body` for `model`, asking for the closing usage chunk; all else is kept."""
    document = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    given = msgspec.json.decode(document["stream_options"]) if "stream_options" in document else None
    options = (given if isinstance(given, dict) else {}) | {"include_usage": True}
    return replace_model(body, model, stream_options=options)


def error_body(error: ApiError) -> bytes:
    """Render an error in OpenAI's shape: `{"error": {"message", "type", "param", "code"}}`."""
    detail = {"message": error.message, "type": error.type, "param": error.param, "code": error.code}
    return _encoder.encode({"error": detail})


def completion_body(
    *,
    identifier: str,
    model: str,
    label: str,
    usage: Usage,
    distribution: Sequence[tuple[str, float]] | None = None,
    vendor: VendorField | dict[str, Any] | None = None,
) -> bytes:
    """Render a label as a chat completion.

    `distribution` holds `(label, probability)` pairs, likeliest first, for `logprobs`; None where they were not asked
    for. The vendor field stands last.
    """
    document: dict[str, Any] = {
        "id": identifier,
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": label, "refusal": None},
                "logprobs": _logprobs(label, distribution),
                "finish_reason": "stop",
            }
        ],
        "usage": _usage(usage),
    }
    if vendor is not None:
        document["tutelage"] = vendor
    return _encoder.encode(document)


def completion_events(
    *,
    identifier: str,
    model: str,
    label: str,
    usage: Usage,
    include_usage: bool,
    distribution: Sequence[tuple[str, float]] | None = None,
    vendor: VendorField | dict[str, Any] | None = None,
) -> Iterator[bytes]:
    """Render a label as the server-sent events of a streamed chat completion, `[DONE]` included."""
    head: dict[str, Any] = {
        "id": identifier,
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": model,
    }
    if include_usage:
        head["usage"] = None
    logprobs = _logprobs(label, distribution)
    steps: list[tuple[dict[str, Any], dict[str, Any] | None, str | None]] = [
        ({"role": "assistant", "content": ""}, None, None),
        ({"content": label}, logprobs, None),
        ({}, None, "stop"),
    ]
    for delta, delta_logprobs, finish in steps:
        choice = {"index": 0, "delta": delta, "logprobs": delta_logprobs, "finish_reason": finish}
        chunk = head | {"choices": [choice]}
        if finish is not None and vendor is not None:
            chunk["tutelage"] = vendor
        yield event(_encoder.encode(chunk))
    if include_usage:
        yield event(_encoder.encode(head | {"choices": [], "usage": _usage(usage)}))
    yield DONE


def event(data: bytes) -> bytes:
    """Frame one server-sent event."""
    return b"data: " + data + b"\n\n"


DONE = event(b"[DONE]")


def error_event(error: ApiError) -> bytes:
    """The event that ends a stream which failed after its first byte. No fake finish follows it."""
    return event(error_body(error))


def models_body(models: Sequence[tuple[str, int]]) -> bytes:
    """Render `/v1/models` for `(name, created)` pairs."""
    data = [model_object(name, created) for name, created in models]
    return _encoder.encode({"object": "list", "data": data})


def model_object(name: str, created: int) -> dict[str, Any]:
    """One entry of `/v1/models`."""
    return {"id": name, "object": "model", "created": created, "owned_by": "tutelage"}


def _decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$.")
        param = path.rstrip("`") or None
        hint = f" in {param}" if param else ""
        raise InvalidRequestError(f"the request is not valid{hint}: {message}", param=param) from error
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidRequestError(f"the body is not valid JSON: {error}", code="invalid_json") from error


def _usage(usage: Usage) -> dict[str, int]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }


def _logprobs(label: str, distribution: Sequence[tuple[str, float]] | None) -> dict[str, Any] | None:
    if distribution is None:
        return None
    tops = [_logprob(name, probability) for name, probability in distribution[:MAX_TOP_LOGPROBS]]
    chosen = next((probability for name, probability in distribution if name == label), _FLOOR)
    return {"content": [_logprob(label, chosen) | {"top_logprobs": tops}], "refusal": None}


def _logprob(token: str, probability: float) -> dict[str, Any]:
    return {"token": token, "logprob": math.log(max(probability, _FLOOR)), "bytes": list(token.encode())}
