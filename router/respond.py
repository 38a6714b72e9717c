"""Answers as ASGI messages."""

from __future__ import annotations

from math import ceil

from starlette.types import Receive, Send

from core import wire
from core.errors import ApiError, BodyTooLargeError, InvalidRequestError
from router.call import Headers

_JSON = (b"content-type", b"application/json")
_EVENTS = (b"content-type", b"text/event-stream; charset=utf-8")


class ClientGoneError(Exception):
    """The client closed the connection before it was answered."""


async def read_body(receive: Receive, limit: int, announced: int | None) -> bytes:
    """Read a request's body. Raises BodyTooLargeError past `limit` bytes, ClientGoneError where the client went."""
    if announced is not None and announced > limit:
        raise _too_large(limit)
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGoneError
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        body = await _read_rest(receive, limit, body)
    if len(body) > limit:
        raise _too_large(limit)
    if not body:
        raise InvalidRequestError("the body is empty; send a JSON object with `model` and `messages`")
    return body


async def send_json(send: Send, status: int, body: bytes, headers: Headers) -> None:
    """Send a whole JSON answer."""
    head = [_JSON, (b"content-length", b"%d" % len(body)), *headers]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})


async def send_error(send: Send, error: ApiError, headers: Headers) -> None:
    """Send an error in OpenAI's shape, with `retry-after` where it has one."""
    extra = [*headers, *error.headers]
    if error.retry_after is not None:
        extra.append((b"retry-after", b"%d" % max(1, ceil(error.retry_after))))
        extra.append((b"retry-after-ms", b"%d" % max(1, ceil(error.retry_after * 1000))))
    await send_json(send, error.status, wire.error_body(error), extra)


async def start_events(send: Send, headers: Headers) -> None:
    """Send the head of a stream of events."""
    head = [_EVENTS, (b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no"), *headers]
    await send({"type": "http.response.start", "status": 200, "headers": head})


async def send_events(send: Send, events: bytes, *, last: bool) -> None:
    """Send events; `last` ends the answer."""
    await send({"type": "http.response.body", "body": events, "more_body": not last})


async def until_disconnected(receive: Receive) -> None:
    """Return when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _read_rest(receive: Receive, limit: int, first: bytes) -> bytes:
    pieces, size = [first], len(first)
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        piece: bytes = message.get("body", b"")
        pieces.append(piece)
        size += len(piece)
        if size > limit:
            raise _too_large(limit)
        if not message.get("more_body"):
            return b"".join(pieces)


def _too_large(limit: int) -> BodyTooLargeError:
    return BodyTooLargeError(f"the body is larger than {limit} bytes, the limit here (gateway.max_body_bytes)")
