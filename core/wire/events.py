"""Server-sent events, errors in OpenAI's shape, and the list of models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core.errors import ApiError
from core.wire.encoding import encode_json


def event(data: bytes) -> bytes:
    """Frame one server-sent event."""
    return b"data: " + data + b"\n\n"


DONE = event(b"[DONE]")


def error_object(error: ApiError) -> dict[str, Any]:
    """An error as OpenAI describes it: `{"message", "type", "param", "code"}`."""
    return {"message": error.message, "type": error.type, "param": error.param, "code": error.code}


def error_body(error: ApiError) -> bytes:
    """Render an error in OpenAI's shape: `{"error": {"message", "type", "param", "code"}}`."""
    return encode_json({"error": error_object(error)})


def error_event(error: ApiError) -> bytes:
    """The event that ends a stream which failed after its first byte. No fake finish follows it."""
    return event(error_body(error))


def models_body(models: Sequence[tuple[str, int]]) -> bytes:
    """Render `/v1/models` for `(name, created)` pairs."""
    data = [model_object(name, created) for name, created in models]
    return encode_json({"object": "list", "data": data})


def model_object(name: str, created: int) -> dict[str, Any]:
    """One entry of `/v1/models`."""
    return {"id": name, "object": "model", "created": created, "owned_by": "tutelage"}
