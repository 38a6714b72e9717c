"""The pool of keep-alive connections to one plain `http://` address. For one event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Coroutine
from math import inf
from typing import Any, Final
from urllib.parse import urlsplit

from core.errors import DeadlineError, SettingsError
from core.settings import Timeouts
from router.upstream.answer import Answer, HeaderPairs, Response
from router.upstream.failures import BrokenOffError, ConnectError, NoConnectionError
from router.upstream.http1 import Connection

_LOOK_SECONDS: Final = 0.02
"""How often the time-outs of the connections are looked at: they end late by this much at most."""

_IDLE_SECONDS: Final = 30.0
"""A connection that was idle for longer is not used again: something on the way may have forgotten it in silence."""

_STALE_SECONDS: Final = 1.0
"""A kept connection that the upstream had closed fails at once. One that fails later failed at work."""

_KEPT_PATHS: Final = 64


class Http1Pool:
    """Connections to one address. Those used last are used first, so that a quiet hour lets the others go."""

    def __init__(self, name: str, url: str, timeouts: Timeouts, *, limit: int = 512) -> None:
        """`name` stands for the upstream in error messages; `limit` is the most connections at once.

        Raises SettingsError where `url` is not an http:// address.
        """
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or "@" in parts.netloc:
            raise SettingsError(f"the address of {name} must be http://host:port, without a password in it")
        self._name = name
        self._host, self._port = parts.hostname, parts.port or 80
        self._base = parts.path.rstrip("/").encode("ascii")
        self._host_header = parts.netloc.encode("ascii")
        self._timeouts = timeouts
        self._limit = limit
        self._heads: dict[tuple[bytes, bytes], bytes] = {}
        self._all: set[Connection] = set()
        self._idle: deque[Connection] = deque()
        self._waiters: deque[asyncio.Future[Connection | None]] = deque()
        self._connecting = 0
        self._looking: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def request(
        self, method: bytes, path: bytes, body: bytes = b"", headers: HeaderPairs = (), deadline: float = inf
    ) -> Coroutine[Any, Any, Response]:
        """Send a request and return the whole answer.

        A kept connection that the upstream has closed meanwhile is replaced by a fresh one, once. Raises ConnectError,
        NoConnectionError, BrokenOffError, UpstreamError (too large), UpstreamTimeoutError and DeadlineError.
        """
        return self._exchange(method, path, body, headers, deadline, streamed=False)

    def open(
        self, method: bytes, path: bytes, body: bytes = b"", headers: HeaderPairs = (), deadline: float = inf
    ) -> Coroutine[Any, Any, Answer]:
        """The same, but return as soon as the head is there. The caller closes the answer."""
        return self._exchange(method, path, body, headers, deadline, streamed=True)

    async def close(self) -> None:
        """Cut all connections."""
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None
        for connection in tuple(self._all):
            connection.abort()
        await asyncio.sleep(0)  # the loop closes what was cut

    async def _exchange(
        self, method: bytes, path: bytes, body: bytes, headers: HeaderPairs, deadline: float, *, streamed: bool
    ) -> Any:
        head = self._head(method, path, len(body), headers)
        if deadline != inf and deadline <= self._running_loop().time():
            raise self._too_late()
        fresh = False
        while True:
            connection = None if fresh else self._take()
            if connection is None:
                connection = await self._acquire(deadline)
            reused = connection.used and not fresh
            try:
                waiter = connection.send(head, body, deadline, streamed=streamed)
                if self._looking is None:
                    self._look_later()
                return await waiter
            except BrokenOffError as error:
                if not reused or error.answered or error.after > _STALE_SECONDS:
                    raise
                fresh = True  # it was closed before it had read us, so that another may
            except asyncio.CancelledError:
                if waiter.cancelled():
                    connection.abort()
                elif waiter.exception() is None and streamed:  # the head has come, and nobody is left to read on
                    await waiter.result().close()
                raise

    # heads

    def _head(self, method: bytes, path: bytes, length: int, headers: HeaderPairs) -> bytes:
        start = self._heads.get((method, path)) or self._start(method, path)
        if not headers:
            return b"%b%d\r\n\r\n" % (start, length)
        lines = b"".join([b"\r\n%b: %b" % pair for pair in headers])
        if lines.count(b"\n") != len(headers) or lines.count(b"\r") != len(headers):
            raise ValueError("a header must not hold a line break")
        return b"%b%d%b\r\n\r\n" % (start, length, lines)

    def _start(self, method: bytes, path: bytes) -> bytes:
        if any(byte <= 32 or byte >= 127 for byte in path):
            raise ValueError(f"the path {path!r} holds a character that must be percent-encoded")
        start = b"%b %b%b HTTP/1.1\r\nhost: %b\r\ncontent-type: application/json\r\ncontent-length: " % (
            method, self._base, path, self._host_header,
        )  # fmt: skip
        if len(self._heads) < _KEPT_PATHS:
            self._heads[method, path] = start
        return start

    # connections

    def _take(self) -> Connection | None:
        """The idle connection that was used last, if it was used lately."""
        idle = self._idle
        while idle:
            connection = idle.pop()
            if connection.closed:
                continue
            if connection.idle_since + _IDLE_SECONDS > self._running_loop().time():
                return connection
            connection.abort()
        return None

    async def _acquire(self, deadline: float) -> Connection:
        """Connect, or wait until somebody is done."""
        loop = self._running_loop()
        if len(self._all) + self._connecting >= self._limit:
            connection = await self._wait(loop, deadline)
            if connection is not None:
                return connection
        else:
            self._connecting += 1
        return await self._connect(loop, deadline)

    async def _wait(self, loop: asyncio.AbstractEventLoop, deadline: float) -> Connection | None:
        """Wait for a connection, or for a place (None), which is reserved then."""
        waiter: asyncio.Future[Connection | None] = loop.create_future()
        self._waiters.append(waiter)
        limit = loop.time() + self._timeouts.pool
        try:
            async with asyncio.timeout_at(min(limit, deadline)):
                return await waiter
        except BaseException as error:
            if waiter.cancelled():
                with contextlib.suppress(ValueError):  # passed over already by whoever had something to give
                    self._waiters.remove(waiter)
            else:  # served in the same moment
                self._pass_on(waiter.result())
            if not isinstance(error, TimeoutError):
                raise
            if deadline <= limit:
                raise self._too_late() from error
            raise NoConnectionError(
                f"all {self._limit} connections to {self._name} were in use for {self._timeouts.pool:g} s",
                retry_after=1,
            ) from error

    async def _connect(self, loop: asyncio.AbstractEventLoop, deadline: float) -> Connection:
        """Make a connection in the place that `_connecting` counts already."""
        limit = loop.time() + self._timeouts.connect
        try:
            async with asyncio.timeout_at(min(limit, deadline)):
                _, connection = await loop.create_connection(
                    lambda: Connection(self, self._name, self._timeouts, loop), self._host, self._port
                )
        except BaseException as error:
            self._connecting -= 1
            self._place_is_free()
            if isinstance(error, TimeoutError) and deadline <= limit:
                raise self._too_late() from error
            if isinstance(error, OSError):  # TimeoutError is one
                why = f"within {self._timeouts.connect:g} s" if isinstance(error, TimeoutError) else f"({error})"
                raise ConnectError(f"{self._name} cannot be reached {why}; is it running?") from error
            raise
        self._connecting -= 1
        if connection.closed:
            self._place_is_free()
            raise ConnectError(f"{self._name} closed the connection before it was asked anything")
        self._all.add(connection)
        return connection

    def released(self, connection: Connection) -> None:
        """A connection is free: whoever has waited longest gets it."""
        if self._waiters:
            self._pass_on(connection)
        elif not connection.closed:
            connection.idle_since = self._running_loop().time()
            self._idle.append(connection)

    def lost(self, connection: Connection) -> None:
        """A connection is no more: whoever has waited longest may make another."""
        if connection in self._all:
            self._all.discard(connection)
            if connection in self._idle:
                self._idle.remove(connection)
            self._place_is_free()

    def _pass_on(self, connection: Connection | None) -> None:
        """Give a connection, or a place for one, to whoever has waited longest."""
        if connection is None:
            self._connecting -= 1
            self._place_is_free()
            return
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return
        self.released(connection)

    def _place_is_free(self) -> None:
        while self._waiters and len(self._all) + self._connecting < self._limit:
            waiter = self._waiters.popleft()
            if not waiter.done():
                self._connecting += 1
                waiter.set_result(None)

    # time-outs

    def _look_later(self) -> None:
        self._looking = self._running_loop().call_later(_LOOK_SECONDS, self._look)

    def _look(self) -> None:
        """Fail what has taken too long, close what is no longer needed; look again while anything is under way."""
        self._looking = None
        now = self._running_loop().time()
        for connection in tuple(self._all):
            if connection.due <= now:
                connection.expire()
            elif connection.busy and self._looking is None:
                self._look_later()
        while self._idle and self._idle[0].idle_since + _IDLE_SECONDS < now:
            self._idle.popleft().abort()

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return self._loop

    def _too_late(self) -> DeadlineError:
        return DeadlineError(f"{self._name} had not answered when the request's deadline passed")
