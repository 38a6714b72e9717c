"""The body of an answer between the connection that receives it and the one who reads it: bounded, in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Final, Protocol

from core.errors import ApiError, UpstreamError
from router.upstream.answer import Answer
from router.upstream.failures import OUTAGES

_HIGH_WATER: Final = 64 * 1024
"""Bytes that may wait for the reader; beyond them the connection stops receiving."""


class Source(Protocol):
    """The connection that receives the body."""

    def pause(self) -> None:
        """Stop receiving."""
        ...

    def resume(self) -> None:
        """Go on receiving."""
        ...

    def lift_deadline(self) -> None:
        """Wait for pieces without regard to the request's deadline."""
        ...

    def abort(self) -> None:
        """Cut the connection."""
        ...


class StreamedAnswer(Answer):
    """An answer that is read while it comes. What has come since the last piece comes out as one piece."""

    __slots__ = (
        "_failure",
        "_loop",
        "_paused",
        "_pieces",
        "_size",
        "_source",
        "_waiter",
        "failed",
        "headers",
        "status",
    )

    def __init__(
        self, status: int, headers: Mapping[bytes, bytes], source: Source, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.status = status
        self.headers = headers
        self._loop = loop
        self._source: Source | None = source
        self._pieces: list[bytes] = []
        self._size = 0
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._failure: ApiError | None = None
        self.failed = False

    # the reader's side

    def pieces(self) -> AsyncIterator[bytes]:
        """The answer is its own iterator."""
        return self

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while not self._pieces:
            if self._failure is not None:
                raise self._failure
            if self._source is None:
                raise StopAsyncIteration
            self._waiter = self._loop.create_future()
            await self._waiter
        pieces = self._pieces
        self._pieces = []
        self._size = 0
        if self._paused:
            self._paused = False
            if self._source is not None:
                self._source.resume()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def lift_deadline(self) -> None:
        """From now on the read time-out alone counts."""
        if self._source is not None:
            self._source.lift_deadline()

    async def close(self) -> None:
        """Cut the connection, unless the answer is complete."""
        self._pieces = []
        if self._source is not None:
            source, self._source = self._source, None
            source.abort()
            self._failure = UpstreamError("the answer was closed before its end")
            self._wake()

    # the connection's side

    def push(self, data: bytes) -> None:
        """Take a piece of the body."""
        self._pieces.append(data)
        self._size += len(data)
        if self._size > _HIGH_WATER and not self._paused and self._source is not None:
            self._paused = True
            self._source.pause()
        self._wake()

    def finish(self) -> None:
        """The body is complete; the connection serves others from now on."""
        if self._paused and self._source is not None:
            self._source.resume()
        self._paused = False
        self._source = None
        self._wake()

    def fail(self, failure: ApiError) -> None:
        """The body will not be complete: what has come can still be read, then `failure` is raised."""
        self._failure = failure
        self.failed = isinstance(failure, OUTAGES)
        self._source = None
        self._wake()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)
