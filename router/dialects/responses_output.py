"""What is read of an upstream's response objects, and of the events of its streams."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from core import wire
from core.records import Usage
from router.dialects.base import Heard, Part, upstream_failure

_ENDS: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})


class ResponseCount(msgspec.Struct):
    """`usage` of a response."""

    input_tokens: int | None = 0
    output_tokens: int | None = 0

    def usage(self) -> Usage:
        """The same as a record."""
        return wire.counted(self.input_tokens, self.output_tokens)


class ResponseObject(msgspec.Struct):
    """What we read of a response object. Its output has many kinds of items, and new ones come: only text is read."""

    output: list[Any] | None = None
    id: str = ""
    model: str = ""
    object: str = ""
    usage: ResponseCount | None = None
    error: Any = None

    def completion(self) -> wire.Completion:
        """The same in the shape of a chat completion."""
        parts = self.text_parts()
        return wire.Completion.of_text(
            "".join(part["text"] for part in parts) if parts else None,
            identifier=self.id,
            model=self.model,
            usage=(self.usage or ResponseCount()).usage(),
            first_token=_first_token(parts),
        )

    def text_parts(self) -> list[dict[str, Any]]:
        """The parts of its messages that are text."""
        items = (item for item in self.output or () if isinstance(item, dict) and item.get("type") == "message")
        parts = (part for item in items for part in _list(item.get("content")))
        return [part for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str)]


class ResponseEvent(msgspec.Struct):
    """What we read of one event of a stream."""

    type: str = ""
    sequence_number: int = -1
    delta: Any = None
    response: ResponseObject | None = None
    error: Any = None
    message: Any = None

    def hear(self, heard: Heard) -> Part:
        """Note what it tells, and say what it is. Raises UpstreamError where it tells of an error."""
        heard.sequence_number = max(heard.sequence_number, self.sequence_number)
        if self.type == "response.output_text.delta":
            if isinstance(self.delta, str):
                heard.pieces.append(self.delta)
            return Part.CONTENT
        if self.type == "error" or (not self.type and self.error is not None):
            raise upstream_failure(self.error if self.error is not None else self.message)
        return Part.CONTENT if self.response is None else self._hear_response(self.response, heard)

    def _hear_response(self, response: ResponseObject, heard: Heard) -> Part:
        if not heard.id:
            heard.id, heard.model = response.id, response.model
        if response.usage is not None:
            heard.usage = response.usage.usage()
        if self.type not in _ENDS:
            return Part.CONTENT
        if self.type == "response.failed":
            heard.failure = upstream_failure(response.error).message
        if not heard.pieces:
            heard.pieces += [part["text"] for part in response.text_parts()]
        return Part.LAST


def _first_token(parts: list[dict[str, Any]]) -> dict[str, float]:
    """Log-probabilities of the alternatives for the first token; empty where not offered."""
    tokens = _list(parts[0].get("logprobs")) if parts else []
    first = tokens[0] if tokens and isinstance(tokens[0], dict) else {}
    tops = [top for top in _list(first.get("top_logprobs")) if isinstance(top, dict)] or [first]
    return {
        top["token"]: float(top["logprob"])
        for top in tops
        if isinstance(top.get("token"), str) and isinstance(top.get("logprob"), int | float)
    }


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
