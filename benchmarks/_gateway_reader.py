"""One client's connection over which streams are read, or broken off, and counted; no more parsing than that needs."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Final

_EVENT: Final = b"data:"
_DONE: Final = b"[DONE]"
_END: Final = b"0\r\n\r\n"
"""What ends a chunked body."""
_MEMORY: Final = 16
"""Bytes kept of what came before, for what is cut in two."""


@dataclass(slots=True)
class Counts:
    """What was seen."""

    streams: int = 0
    """Streams read to their end, or broken off where that was the task."""
    events: int = 0
    """Within the `seconds`."""
    events_in_all: int = 0
    """The same with those before, while streams were opened."""
    failed: int = 0
    """Streams that were refused, or ended by the gateway before their end."""
    first_ms: list[float] = field(default_factory=list)
    """Time to the first event of every stream."""
    seconds: float = 0.0


class Reader(asyncio.Protocol):
    """One stream after the other over one connection, until told to stop."""

    def __init__(self, request: bytes, counts: Counts, *, break_after: int | None = None, abort: bool = False) -> None:
        """`break_after` closes the connection after so many events: in an orderly way, or by `abort` (a reset)."""
        self._request = request
        self._counts = counts
        self._break_after = break_after
        self._abort = abort
        self._transport: asyncio.Transport | None = None
        self._asked = 0.0
        self._seen = 0
        self._done = False
        self._last = b""
        self._leaving = False
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def stop(self) -> None:
        """Break off."""
        self._leaving = True
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # create_connection gives a full Transport
        self._ask()

    def data_received(self, data: bytes) -> None:
        if self._leaving:
            return
        if not self._last and not data.startswith(b"HTTP/1.1 200"):
            self._counts.failed += 1
            self.stop()
            return
        # What is kept of the piece before holds no whole event mark, so that nothing is counted twice.
        count = (self._last[1 - len(_EVENT) :] + data).count(_EVENT)
        joined = self._last + data
        self._last = joined[-_MEMORY:]
        if count:
            if not self._seen:
                self._counts.first_ms.append((time.perf_counter() - self._asked) * 1000)
            self._seen += count
            self._counts.events += count
            if self._break_after is not None and self._seen >= self._break_after:
                self._break_off()
                return
        self._done = self._done or _DONE in joined
        if self._done and joined.endswith(_END):
            self._counts.streams += 1
            self._ask()

    def connection_lost(self, _: Exception | None) -> None:
        self._transport = None
        if not self._leaving:  # we keep a request under way at all times: it has been cut off
            self._counts.failed += 1
        if not self.over.done():
            self.over.set_result(None)

    def _ask(self) -> None:
        if self._transport is not None:
            self._seen, self._done, self._last = 0, False, b""
            self._asked = time.perf_counter()
            self._transport.write(self._request)

    def _break_off(self) -> None:
        self._counts.streams += 1
        if self._abort or self._transport is None:
            self.stop()
        else:
            self._leaving = True
            self._transport.close()
