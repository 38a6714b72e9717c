"""One keep-alive connection of HTTP/1.1: whole answers, and answers in pieces.

This is the hottest code of the gateway. A whole answer costs one future, one record and no timer: `due` says when the
connection's patience ends, and the pool looks at all of them fifty times a second.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import Any, Final, Protocol

from core.errors import ApiError, DeadlineError
from core.settings import Timeouts
from router.upstream.failures import BrokenOffError, UpstreamTimeoutError
from router.upstream.parser import AnswerParser
from router.upstream.stream import StreamedAnswer

_JOINED_BYTES: Final = 64 * 1024
"""Smaller bodies are copied behind their head, which is cheaper than writing twice."""


class Owner(Protocol):
    """The pool, as a connection sees it."""

    def released(self, connection: Connection) -> None:
        """The connection is free for the next request."""
        ...

    def lost(self, connection: Connection) -> None:
        """The connection is no more."""
        ...


class Connection(asyncio.Protocol):
    """One connection: at most one request under way."""

    __slots__ = (
        "_deadline", "_loop", "_name", "_owner", "_parser", "_read_seconds", "_sent_at", "_stream", "_transport",
        "_waiter", "_write_paused", "_write_seconds", "busy", "due", "idle_since", "used",
    )  # fmt: skip

    def __init__(self, owner: Owner, name: str, timeouts: Timeouts, loop: asyncio.AbstractEventLoop) -> None:
        """`name` stands for the upstream in error messages."""
        self._owner = owner
        self._name = name
        self._read_seconds = timeouts.read
        self._write_seconds = timeouts.write
        self._loop = loop
        self._parser = AnswerParser(name)
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[Any] | None = None
        self._stream: StreamedAnswer | None = None
        self._write_paused = False
        self._deadline = inf
        self.busy = False
        """A request is under way."""
        self.due = inf
        """Time of the event loop at which `expire` is to be called."""
        self.used = False
        """It has served a request before, so the upstream may have closed it meanwhile."""
        self.idle_since = 0.0
        """When the pool took it back."""

    @property
    def closed(self) -> bool:
        """It can serve no more."""
        return self._transport is None or self._transport.is_closing()

    def send(self, head: bytes, body: bytes, deadline: float, *, streamed: bool) -> asyncio.Future[Any]:
        """Send a request. The future resolves with a Response, or, for `streamed`, with an Answer once its head came.

        Raises BrokenOffError where the connection is closed already.
        """
        transport = self._transport
        if transport is None:
            raise BrokenOffError(f"{self._name} has closed the connection", answered=False)
        waiter = self._waiter = self._loop.create_future()
        self._parser.expect(self._opened if streamed else None)
        self._deadline = deadline
        self._sent_at = self._loop.time()
        self.busy = True
        if len(body) < _JOINED_BYTES:
            transport.write(head + body)
        else:
            transport.writelines((head, body))
        self._be_patient()
        return waiter

    def abort(self) -> None:
        """Cut the connection at once, whatever is under way: nobody waits for it any more."""
        self.busy = False
        self.due = inf
        self._waiter = self._stream = None
        if self._transport is not None:
            self._transport.abort()

    def expire(self) -> None:
        """Its time has come: fail what is under way."""
        if self._deadline <= self.due:
            self._fail(DeadlineError(f"{self._name} had not answered when the request's deadline passed"))
        elif self._write_paused:
            self._fail(self._timeout(f"did not take the request within {self._write_seconds:g} s", "timeouts.write"))
        else:
            self._fail(self._timeout(f"sent nothing for {self._read_seconds:g} s", "timeouts.read"))

    # what a StreamedAnswer asks of its source

    def pause(self) -> None:
        """Stop receiving until the reader has caught up; meanwhile no time-out runs."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()
            self.due = inf

    def resume(self) -> None:
        """Go on receiving."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
            self._be_patient()

    def lift_deadline(self) -> None:
        """From now on the read time-out alone counts."""
        self._deadline = inf
        if self.due != inf:
            self._be_patient()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is connected."""
        self._transport = transport  # type: ignore[assignment]  # create_connection gives a full Transport

    def data_received(self, data: bytes) -> None:
        """Read on."""
        if not self.busy:
            self.abort()  # it spoke without being asked, as some do before they close: nobody will trust it again
            return
        try:
            complete = self._parser.feed(data)
        except ApiError as failure:
            self._fail(failure)
            return
        if complete:
            self._finish()
        elif self.due != inf:
            self._be_patient()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed, by whomever."""
        self._transport = None
        if self.busy:
            if exc is None and self._parser.ends_with_connection:
                self._finish()
            else:
                why = f"broke off ({exc})" if exc is not None else "closed the connection before its answer ended"
                after = self._loop.time() - self._sent_at
                self._fail(BrokenOffError(f"{self._name} {why}", answered=self._parser.begun, after=after))
        self._parser.close()
        self._owner.lost(self)

    def pause_writing(self) -> None:
        """The upstream takes the request more slowly than it is written."""
        self._write_paused = True

    def resume_writing(self) -> None:
        """It has taken most of it: from now on it is to answer."""
        self._write_paused = False
        if self.due != inf:
            self._be_patient()

    # endings

    def _opened(self, status: int, headers: dict[bytes, bytes]) -> StreamedAnswer:
        stream = self._stream = StreamedAnswer(status, headers, self, self._loop)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(stream)
        return stream

    def _finish(self) -> None:
        waiter, stream = self._waiter, self._stream
        self._waiter = self._stream = None
        keep = self._parser.keep_alive and not self._write_paused
        if stream is not None:
            stream.finish()
        elif waiter is None or waiter.done():
            keep = False  # cancelled: whoever did it will cut the connection
        else:
            waiter.set_result(self._parser.response())
        self.busy = False
        self.due = inf
        self.used = True
        if keep:
            self._owner.released(self)
        elif self._transport is not None:
            self._transport.abort()

    def _fail(self, failure: ApiError) -> None:
        waiter, stream = self._waiter, self._stream
        self.abort()
        if stream is not None:
            stream.fail(failure)
        elif waiter is not None and not waiter.done():
            waiter.set_exception(failure)

    def _be_patient(self) -> None:
        """Start the time-out that fits anew."""
        due = self._loop.time() + (self._write_seconds if self._write_paused else self._read_seconds)
        self.due = due if due < self._deadline else self._deadline  # noqa: FURB136  # `min` takes thrice as long

    def _timeout(self, what: str, setting: str) -> UpstreamTimeoutError:
        return UpstreamTimeoutError(f"{self._name} {what}; raise its {setting} if that is to be expected")
