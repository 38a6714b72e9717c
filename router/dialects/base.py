"""What the gateway needs of an address: to read a request, to say a label, and to understand an upstream's answer.

A dialect holds no state: one object serves all requests. What is read of one stream stands in its `Heard`.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, ClassVar, Final, Literal

import msgspec

from core import wire
from core.errors import ApiError, UpstreamError
from core.records import Usage

Name = Literal["chat", "completions", "responses", "embeddings"]

_BYTES_PER_TOKEN: Final = 4
_ATTACHMENT_TOKENS: Final = 1000
_SMALL_BYTES: Final = 8192
_ATTACHMENT: Final = re.compile(rb'"data:[^"]{4000,}"|"(?:file_)?data"\s*:\s*"[^"]{4000,}"')
_MAX_MESSAGE_CHARACTERS: Final = 500


class Request(msgspec.Struct, frozen=True, gc=False):
    """What is known of a request, whichever its dialect."""

    model: str
    """As the client wrote it: a task, an alias, or a model of the default upstream."""
    messages: list[tuple[str, str]] | None = None
    """`(role, text)` pairs; None where it holds more than text, or asks for what a classifier cannot do."""
    stream: bool = False
    wants_usage_chunk: bool = False
    """Whether a streamed answer ends with a chunk that holds the usage alone."""
    logprobs: int | None = None
    """How many alternatives a token the client wants to see; None: no log-probabilities at all."""
    user: str = ""
    """The client's end user, by `user` or `safety_identifier`."""
    max_output_tokens: int | None = None
    prompt_tokens: int = 0
    """An estimate, for limits; the upstream's own count settles it afterwards."""
    given: msgspec.Struct | None = None
    """The decoded body, where an answer repeats some of it."""


class LabelAnswer(msgspec.Struct, frozen=True, gc=False):
    """A label to be said to a client."""

    id: str
    label: str
    usage: Usage
    distribution: Sequence[tuple[str, float]] = ()
    """`(label, probability)` pairs, likeliest first; read only where the request asks for log-probabilities."""
    vendor: dict[str, Any] | None = None
    """The field `tutelage`, where the client wants it."""


class Part(Enum):
    """What one event of an upstream's stream is."""

    CONTENT = auto()
    """It goes on to the client."""
    USAGE = auto()
    """It holds the usage alone: it goes on only to a client that asked for it."""
    LAST = auto()
    """It goes on, and nothing follows."""
    DONE = auto()
    """`[DONE]`: the stream is complete."""


@dataclass(slots=True)
class Heard:
    """What has been read of one stream so far."""

    id: str = ""
    model: str = ""
    usage: Usage = field(default_factory=Usage)
    pieces: list[str] = field(default_factory=list)
    vendor: wire.VendorField | None = None
    failure: str = ""
    """What the upstream said where it failed by an event of its own that goes on to the client."""
    sequence_number: int = -1
    """Of the last event, where events are numbered."""

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self.pieces)


class Dialect(ABC):
    """One address."""

    name: ClassVar[Name]
    path: ClassVar[str]
    """Where clients ask."""
    upstream_path: ClassVar[str]
    """Where an upstream is asked, relative to its base URL."""
    operation: ClassVar[str] = "chat"
    """What OpenTelemetry's conventions for generative AI call it."""
    says_labels: ClassVar[bool] = True
    """Whether a label is an answer here. Without it no student is ever asked."""

    @abstractmethod
    def decode(self, body: bytes) -> Request:
        """Read a request. Raises InvalidRequestError that names the field at fault."""

    @abstractmethod
    def upstream_body(self, body: bytes, request: Request, model: str) -> bytes:
        """The body for an upstream whose name for the model is `model`; what is not ours to change stays as it is."""

    @abstractmethod
    def student_body(self, body: bytes, request: Request, task: str) -> bytes:
        """The chat body for the student of `task`: students speak chat alone. `request.messages` is not None."""

    @abstractmethod
    def whole(self, request: Request, answer: LabelAnswer) -> bytes:
        """Render a label as a whole answer."""

    @abstractmethod
    def events(self, request: Request, answer: LabelAnswer) -> bytes:
        """Render a label as all events of a stream, its end included."""

    @abstractmethod
    def read(self, body: bytes) -> wire.Completion:
        """Read a whole answer of an upstream's. Raises UpstreamError where it is none."""

    @abstractmethod
    def hear(self, data: bytes, heard: Heard) -> Part:
        """Read the data of one event of an upstream's stream, and say what it is.

        Raises UpstreamError where it cannot be read, or says that the upstream failed.
        """

    def error_event(self, error: ApiError, heard: Heard) -> bytes:  # noqa: ARG002  # where events are numbered
        """The event that ends a stream which failed after its first byte. No fake finish follows it."""
        return wire.error_event(error)


def chat_body(request: Request, model: str, *, logprobs: bool = False) -> bytes:
    """The chat request that says the same, for whoever speaks chat alone.

    `logprobs` asks for the log-probabilities that the client wants. Raises ValueError where the request holds more than
    text.
    """
    if request.messages is None:
        raise ValueError("a request that holds more than text cannot be put as plain messages")
    messages = [{"role": role, "content": text} for role, text in request.messages]
    document: dict[str, Any] = {"model": model, "messages": messages}
    if request.max_output_tokens is not None:
        document["max_completion_tokens"] = request.max_output_tokens
    if logprobs and request.logprobs is not None:
        document |= {"logprobs": True, "top_logprobs": min(request.logprobs, wire.MAX_TOP_LOGPROBS)}
    return wire.encode_json(document)


def renamed(body: bytes, request: Request, model: str) -> bytes:
    """The client's body under an upstream's name for the model: the very bytes, where they say that alone already."""
    if request.model == model and wire.names_model_once(body):
        return body
    return wire.replace_model(body, model)


def estimate_tokens(body: bytes) -> int:
    """Roughly how many tokens a request's body holds: four bytes each, a thousand for each file or picture in it."""
    if len(body) < _SMALL_BYTES:
        return len(body) // _BYTES_PER_TOKEN
    attachments = [len(found) for found in _ATTACHMENT.findall(body)]
    return (len(body) - sum(attachments)) // _BYTES_PER_TOKEN + _ATTACHMENT_TOKENS * len(attachments)


def upstream_failure(error: object) -> UpstreamError:
    """The error of which an upstream tells within its stream, as ours."""
    message = error.get("message") if isinstance(error, dict) else error
    told = message[:_MAX_MESSAGE_CHARACTERS] if isinstance(message, str) and message else "it did not say why"
    return UpstreamError(f"the upstream ended its stream with an error: {told}")
