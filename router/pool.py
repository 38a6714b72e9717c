"""A keep-alive pool for plain HTTP/1.1 towards the student, on httptools' parser.

The student is next door and answers in microseconds, so the client library would cost more than the answer: this pool
takes about a tenth of httpx's time. It speaks what our own servers speak: whole answers over plain HTTP. The teacher,
far away and over TLS, goes through httpx (`router/teacher.py`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httptools

from core.settings import Timeouts

_MAX_RESPONSE_BYTES = 16 * 1024 * 1024


class PoolError(Exception):
    """The upstream could not be reached, broke off, or answered with something that is not HTTP."""


@dataclass(slots=True)
class Response:
    """A whole answer."""

    status: int = 0
    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""


class _Connection(asyncio.Protocol):
    """One connection: at most one request under way."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[Response] | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._response = Response()
        self._pieces: list[bytes] = []
        self._size = 0
        self.reusable = True

    @property
    def closed(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    def send(self, head: bytes, body: bytes) -> asyncio.Future[Response]:
        """Send a request; the future resolves with the whole answer."""
        if self._transport is None:
            raise PoolError("the connection is closed")
        self._waiter = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._response = Response()
        self._pieces = []
        self._size = 0
        self._transport.write(head + body)
        return self._waiter

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # create_connection gives a full Transport

    def data_received(self, data: bytes) -> None:
        if self._parser is None:
            self._fail("the upstream spoke without being asked")
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, PoolError) as error:
            self._fail(f"the upstream's answer is not HTTP: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._fail(f"the connection broke off: {exc or 'closed by the upstream'}")

    # httptools' callbacks

    def on_header(self, name: bytes, value: bytes) -> None:
        self._response.headers[name.lower()] = value

    def on_body(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > _MAX_RESPONSE_BYTES:
            raise PoolError("the answer is too large")
        self._pieces.append(data)

    def on_message_complete(self) -> None:
        parser, waiter = self._parser, self._waiter
        self._parser = self._waiter = None
        if parser is None or waiter is None or waiter.done():
            return
        self._response.status = parser.get_status_code()
        self._response.body = b"".join(self._pieces)
        self.reusable = parser.should_keep_alive()
        waiter.set_result(self._response)

    def _fail(self, why: str) -> None:
        self.reusable = False
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_exception(PoolError(why))
        if self._transport is not None:
            self._transport.abort()


class Pool:
    """Connections to one upstream. Not thread-safe: it belongs to one event loop."""

    def __init__(self, base_url: str, timeouts: Timeouts, *, limit: int = 256) -> None:
        """Raise ValueError where `base_url` is not a plain http:// address."""
        parts = urlsplit(base_url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"the student's url must be http://host:port, not {base_url!r}")
        self._host, self._port = parts.hostname, parts.port or 80
        self._prefix = parts.path.rstrip("/")
        self._host_header = parts.netloc.rpartition("@")[2].encode()
        self._timeouts = timeouts
        self._idle: deque[_Connection] = deque()
        self._slots = asyncio.Semaphore(limit)

    async def request(
        self, method: str, path: str, body: bytes = b"", headers: tuple[tuple[bytes, bytes], ...] = ()
    ) -> Response:
        """Send one request and return the whole answer.

        A kept connection that the upstream has closed meanwhile is replaced by a fresh one, once. Raises PoolError, and
        TimeoutError past the configured time-outs.
        """
        head = self._head(method, path, len(body), headers)
        async with asyncio.timeout(self._timeouts.pool):
            await self._slots.acquire()
        try:
            while self._idle:
                connection = self._idle.pop()
                if not connection.closed:
                    try:
                        return await self._exchange(connection, head, body)
                    except PoolError:
                        break  # closed under our hands: nothing was answered, so a fresh connection may try again
            return await self._exchange(await self._connect(), head, body)
        finally:
            self._slots.release()

    def close(self) -> None:
        """Close what is idle."""
        while self._idle:
            self._idle.pop().close()

    async def _exchange(self, connection: _Connection, head: bytes, body: bytes) -> Response:
        try:
            async with asyncio.timeout(self._timeouts.read):
                response = await connection.send(head, body)
        except BaseException:  # cancelled or late: the answer may still come, so the connection is spoilt
            connection.close()
            raise
        if connection.reusable:
            self._idle.append(connection)
        else:
            connection.close()
        return response

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeouts.connect):
                _, connection = await loop.create_connection(_Connection, self._host, self._port)
        except OSError as error:
            raise PoolError(f"cannot connect to {self._host}:{self._port}: {error.strerror or error}") from error
        return connection

    def _head(self, method: str, path: str, length: int, headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
        lines = [
            f"{method} {self._prefix}{path} HTTP/1.1".encode(),
            b"host: " + self._host_header,
            b"content-type: application/json",
            b"content-length: %d" % length,
        ]
        lines += [name + b": " + value for name, value in headers]
        return b"\r\n".join(lines) + b"\r\n\r\n"
