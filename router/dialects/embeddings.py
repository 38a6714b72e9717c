"""`/v1/embeddings`: no label is an answer here, so that it always goes to an upstream."""

from __future__ import annotations

from typing import Any, Final, NoReturn

import msgspec

from core import wire
from core.errors import InvalidRequestError, UpstreamError
from router.dialects.base import Dialect, Heard, LabelAnswer, Part, Request, estimate_tokens, renamed


class _Body(msgspec.Struct):
    model: str
    input: Any = None
    user: str | None = None


class _Count(msgspec.Struct):
    prompt_tokens: int | None = 0


class _Embeddings(msgspec.Struct):
    data: list[msgspec.Raw]
    model: str = ""
    usage: _Count | None = None


_decoder: Final = msgspec.json.Decoder(_Body)
_embeddings_decoder: Final = msgspec.json.Decoder(_Embeddings)


class EmbeddingsDialect(Dialect):
    """Embeddings."""

    name = "embeddings"
    path = "/v1/embeddings"
    upstream_path = "embeddings"
    operation = "embeddings"
    says_labels = False

    def decode(self, body: bytes) -> Request:
        """Read a request. Raises InvalidRequestError that names the field at fault."""
        found = wire.decode_body(_decoder, body)
        if found.input is None:
            raise InvalidRequestError("input is missing; send a text, or a list of them", param="input")
        return Request(found.model, user=found.user or "", prompt_tokens=estimate_tokens(body))

    def upstream_body(self, body: bytes, request: Request, model: str) -> bytes:
        """Replace the model's name."""
        return renamed(body, request, model)

    def student_body(self, body: bytes, request: Request, task: str) -> NoReturn:  # noqa: ARG002  # there is none
        """Raise TypeError: no student makes embeddings."""
        raise _no_label()

    def whole(self, request: Request, answer: LabelAnswer) -> NoReturn:  # noqa: ARG002  # there is none
        """Raise TypeError: a label is no embedding."""
        raise _no_label()

    def events(self, request: Request, answer: LabelAnswer) -> NoReturn:  # noqa: ARG002  # there are none
        """Raise TypeError: a label is no embedding."""
        raise _no_label()

    def read(self, body: bytes) -> wire.Completion:
        """Read the model and the usage; there is no text. Raises UpstreamError where these are no embeddings."""
        try:
            found = _embeddings_decoder.decode(body)
        except (ValueError, RecursionError) as error:
            raise UpstreamError("the upstream's answer is not a list of embeddings") from error
        count = found.usage or _Count()
        return wire.Completion.of_text(None, model=found.model, usage=wire.counted(count.prompt_tokens))

    def hear(self, data: bytes, heard: Heard) -> Part:  # noqa: ARG002  # whatever it says
        """Raise UpstreamError: embeddings are not streamed."""
        raise UpstreamError("the upstream streams where embeddings were asked for")


def _no_label() -> TypeError:
    return TypeError("embeddings are not labels; see Dialect.says_labels")
