"""Refusing what is no request, and so never reaches an app: in OpenAI's shape all the same."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus

from core import wire
from core.errors import ApiError, InvalidRequestError
from core.ids import mint, sane_request_id


def meaning(error: Exception) -> ApiError:
    """What an error of the parser means to the client."""
    cause = error.__context__  # what a callback of ours has raised
    if isinstance(cause, ApiError):
        return cause
    return InvalidRequestError(f"this is not a valid HTTP request: {error}", code="invalid_http")


def refusal(error: ApiError, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A whole answer, after which the connection is closed. `headers` are those of the request, as far as they came."""
    body = wire.error_body(error)
    status = f"{error.status} {HTTPStatus(error.status).phrase}"
    lines = (
        f"HTTP/1.1 {status}",
        "content-type: application/json",
        f"content-length: {len(body)}",
        f"x-request-id: {_request_id(headers)}",
        "connection: close",
    )
    return "\r\n".join((*lines, "", "")).encode() + body


def _request_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The client's own, where it is a sane one, else a new one."""
    sent = next((value.decode("latin-1") for name, value in headers if name == b"x-request-id"), None)
    return sane_request_id(sent) or mint("req")
