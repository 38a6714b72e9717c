"""Requests on their way to somebody else: single top-level fields replaced, all else kept byte for byte.

A body whose fields cannot be told apart is refused with InvalidRequestError: it may have passed so far, since what
nobody reads nobody has checked.
"""

from __future__ import annotations

from typing import Any

import msgspec

from core.wire.encoding import decode_body, encode_json

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_fields_or_null = msgspec.json.Decoder(dict[str, msgspec.Raw] | None)


def replace_model(body: bytes, model: str, **fields: Any) -> bytes:
    """Return `body` with its `model`, and any further top-level `fields`, replaced; all else is kept byte for byte."""
    document = _split(body)
    document["model"] = model
    document.update(fields)
    return encode_json(document)


def names_model_once(body: bytes) -> bool:
    """Whether nobody can read another model out of `body` than we have; False where that cannot be told at a glance.

    Of fields with the same name some readers take the first, and a name can be written in several ways.
    """
    return body.count(b'"model"') == 1 and b"\\u" not in body


def without_field(body: bytes, name: str) -> bytes:
    """Return `body` without its top-level field `name`; all else is kept byte for byte. Raises ValueError."""
    document = _fields.decode(body)
    document.pop(name, None)
    return encode_json(document)


def ask_for_usage(body: bytes, model: str) -> bytes:
    """Return a streamed request's `body` for `model`, asking for the closing usage chunk; all else is kept."""
    document = _split(body)
    given = decode_body(_fields_or_null, document["stream_options"]) if "stream_options" in document else None
    document["model"] = model
    document["stream_options"] = {**(given or {}), "include_usage": True}
    return encode_json(document)


def _split(body: bytes) -> dict[str, Any]:
    found: dict[str, msgspec.Raw] = decode_body(_fields, body)
    return {**found}
