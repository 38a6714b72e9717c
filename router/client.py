"""The client of one request: what it has sent, and how it is answered.

Two ways lead here: straight from uvicorn's connection (`router/protocol.py`), which the workers use, and any ASGI
server (`AsgiClient`).
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Sequence
from math import ceil
from typing import Any

from starlette.types import Receive, Scope, Send

from core import wire
from core.errors import ApiError, BodyTooLargeError, InvalidRequestError

Pairs = Sequence[tuple[bytes, bytes]]

Lines = bytes
"""Headers as they go out, each ending in CR LF: a request's own are written at once, and never taken apart again."""

JSON = (b"content-type", b"application/json")
EVENTS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)


class ClientGoneError(Exception):
    """The client closed the connection before it was answered."""


class Client(ABC):
    """One request's client. Either `answer` is called once, or `start` and then `send` until the last."""

    __slots__ = ()

    headers: Pairs
    """Of the request; names in lower case."""

    @abstractmethod
    async def read(self, limit: int) -> bytes:
        """The request's body. Raises BodyTooLargeError past `limit` bytes, ClientGoneError where the client went."""

    @abstractmethod
    async def answer(self, status: int, body: bytes, lines: Lines) -> None:
        """Send a whole JSON answer."""

    @abstractmethod
    async def start(self, lines: Lines) -> None:
        """Begin a stream of events."""

    @abstractmethod
    async def send(self, events: bytes, *, last: bool) -> None:
        """Send events, as fast as the client takes them; `last` ends the answer."""

    @abstractmethod
    async def unless_gone(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work`, and cancel it as soon as the client goes away. Raises ClientGoneError then."""


class AsgiClient(Client):
    """A client behind any ASGI server."""

    __slots__ = ("_receive", "_send", "headers")

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.headers = scope["headers"]
        self._receive = receive
        self._send = send

    async def read(self, limit: int) -> bytes:
        """The request's body."""
        announced = dict(self.headers).get(b"content-length", b"")
        if announced.isdigit() and int(announced) > limit:
            raise too_large(limit)
        pieces: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            piece: bytes = message.get("body", b"")
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                raise too_large(limit)
            if not message.get("more_body"):
                break
        if not size:
            raise empty()
        return b"".join(pieces)

    async def answer(self, status: int, body: bytes, lines: Lines) -> None:
        """Send a whole JSON answer."""
        head = [JSON, (b"content-length", b"%d" % len(body)), *_pairs(lines)]
        await self._send({"type": "http.response.start", "status": status, "headers": head})
        await self._send({"type": "http.response.body", "body": body})

    async def start(self, lines: Lines) -> None:
        """Begin a stream of events."""
        await self._send({"type": "http.response.start", "status": 200, "headers": [*EVENTS, *_pairs(lines)]})

    async def send(self, events: bytes, *, last: bool) -> None:
        """Send events."""
        await self._send({"type": "http.response.body", "body": events, "more_body": not last})

    async def unless_gone(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` beside a task that watches the client."""
        worker = asyncio.ensure_future(work)
        watcher = asyncio.ensure_future(self._disconnected())
        try:
            await asyncio.wait({worker, watcher}, return_when=asyncio.FIRST_COMPLETED)
            if not worker.done():
                worker.cancel()
                await asyncio.wait({worker})
                raise ClientGoneError
            worker.result()
        finally:
            for task in (worker, watcher):
                task.cancel()
            await asyncio.gather(worker, watcher, return_exceptions=True)

    async def _disconnected(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass


async def send_error(client: Client, error: ApiError, lines: Lines) -> None:
    """Send an error in OpenAI's shape."""
    await client.answer(error.status, wire.error_body(error), lines + header_lines(error_headers(error)))


def header_lines(headers: Pairs) -> Lines:
    """Headers as lines. Raises ValueError where one of them would end its line."""
    lines = b"".join([b"%b: %b\r\n" % header for header in headers])
    if lines.count(b"\n") != len(headers) or lines.count(b"\r") != len(headers):
        raise ValueError("a header holds a line break")
    return lines


def _pairs(lines: Lines) -> list[tuple[bytes, bytes]]:
    """Undo `header_lines`."""
    found = (line.partition(b": ") for line in lines.split(b"\r\n")[:-1])
    return [(name, value) for name, _, value in found]


def error_headers(error: ApiError) -> list[tuple[bytes, bytes]]:
    """The headers that an error brings, `retry-after` where it has one."""
    headers = list(error.headers)
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % max(1, ceil(error.retry_after))))
        headers.append((b"retry-after-ms", b"%d" % max(1, ceil(error.retry_after * 1000))))
    return headers


def too_large(limit: int) -> BodyTooLargeError:
    """The error for a body beyond the limit."""
    return BodyTooLargeError(f"the body is larger than {limit} bytes, the limit here (gateway.max_body_bytes)")


def empty() -> InvalidRequestError:
    """The error for a request without a body."""
    return InvalidRequestError("the body is empty; send a JSON object with `model` and `messages`")
