"""Requests on their way to somebody else: single top-level fields replaced, all else kept byte for byte."""

from __future__ import annotations

from typing import Any

import msgspec

from core.wire.encoding import encode_json

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


def replace_model(body: bytes, model: str, **fields: Any) -> bytes:
    """Return `body` with its `model`, and any further top-level `fields`, replaced; all else is kept byte for byte."""
    document: dict[str, Any] = dict(_fields.decode(body))
    document["model"] = model
    document.update(fields)
    return encode_json(document)


def without_field(body: bytes, name: str) -> bytes:
    """Return `body` without its top-level field `name`; all else is kept byte for byte."""
    document = _fields.decode(body)
    document.pop(name, None)
    return encode_json(document)


def ask_for_usage(body: bytes, model: str) -> bytes:
    """Return a streamed request's `body` for `model`, asking for the closing usage chunk; all else is kept."""
    document: dict[str, Any] = dict(_fields.decode(body))
    given = msgspec.json.decode(document["stream_options"]) if "stream_options" in document else None
    document["model"] = model
    document["stream_options"] = (given if isinstance(given, dict) else {}) | {"include_usage": True}
    return encode_json(document)
