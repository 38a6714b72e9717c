"""What an upstream said when it refused, as the client is told of it: in OpenAI's shape, and without our key."""

from __future__ import annotations

from typing import Final

import msgspec

from core.errors import ApiError, UpstreamError

_OURS: Final = frozenset((401, 403, 407))
"""Statuses that are about the key which the gateway has sent. The client has sent another, and that one is good."""

_MAX_CHARACTERS: Final = 2000
"""Of a message that is passed on."""


class _OpenAIError(msgspec.Struct):
    message: str = ""
    type: str | None = None
    param: str | None = None
    code: str | int | None = None


class _ErrorBody(msgspec.Struct):
    error: _OpenAIError


_decoder: Final = msgspec.json.Decoder(_ErrorBody)


def read_refusal(status: int, body: bytes) -> ApiError:
    """The error for a client. `error.status` is what the client gets.

    Raises UpstreamError where that is no refusal of the client's request: no error at all, or the gateway's own fault.
    """
    if not 400 <= status < 600:
        raise UpstreamError(f"the teacher answered with status {status} and something that is not an answer")
    if status in _OURS:
        raise UpstreamError(f"the teacher refuses the gateway's key (status {status}); see its api_key_env")
    try:
        found = _decoder.decode(body).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = _OpenAIError()
    error = UpstreamError(
        found.message[:_MAX_CHARACTERS] or f"the teacher refused with status {status}",
        param=found.param[:_MAX_CHARACTERS] if found.param else None,
    )
    error.status = status
    error.code = found.code[:_MAX_CHARACTERS] if isinstance(found.code, str) else None  # vLLM's is a number
    error.type = (found.type or "")[:_MAX_CHARACTERS] or ("server_error" if status >= 500 else "invalid_request_error")
    return error


def hide_key(error: ApiError, key: str) -> None:
    """Take the upstream's `key` out of an error that may repeat what was sent to it."""
    if key:
        error.args = (error.message.replace(key, "***"),)
        error.param = error.param.replace(key, "***") if error.param else error.param
        error.type = error.type.replace(key, "***")
        error.code = error.code.replace(key, "***") if error.code else error.code
