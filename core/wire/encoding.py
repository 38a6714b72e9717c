"""JSON in and out."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from core.errors import InvalidRequestError

T = TypeVar("T")

encode_json = msgspec.json.Encoder().encode
"""Encode to JSON bytes."""


def decode_body(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """Decode a client's body. Raises InvalidRequestError that names the field at fault."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$.")
        param = path.rstrip("`") or None
        hint = f" in {param}" if param else ""
        raise InvalidRequestError(f"the request is not valid{hint}: {message}", param=param) from error
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidRequestError(f"the body is not valid JSON: {error}", code="invalid_json") from error
