"""uvicorn's HTTP protocol for clients that mean ill, or are merely odd.

httptools refuses what two readers could understand in two ways: two lengths, a length beside chunks, folded headers,
bare line feeds (RFC 9112, section 11.2). What it leaves open is closed here:

- a request has `gateway.read_seconds` to come whole, and a head, or trailers, 64 KiB;
- a client that takes in nothing of its answer for `gateway.write_seconds` is cut off;
- trailers are read and dropped: they must not pass for headers that a proxy in front has checked;
- an offer to change to another protocol is ignored, as RFC 9110 (section 7.8) allows: httptools would skip the body,
  and read it as the next request;
- what cannot be read is refused in OpenAI's shape, after the answers to what came before it, and nothing further is
  heard on that connection.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import Any, Final

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from core.errors import (
    ApiError,
    HeadTooLargeError,
    InvalidRequestError,
    MethodNotAllowedError,
    RequestTimeoutError,
)
from router.app import Gateway
from router.http_refusal import meaning, refusal

_MAX_SILENT_BYTES: Final = 64 * 1024
"""Bytes in a row that are not body: a head, trailers, what stands behind the size of a chunk."""

_MAX_PIPELINED: Final = 16
"""So many requests may wait on a connection for the answer to another; beyond them nothing is read."""

_LINGER_SECONDS: Final = 2.0
"""How long a refused client may go on sending: closing at once would take the answer away from under its eyes."""

_LOOKS: Final = 8
"""How often a connection is looked at within a time-out: it ends late by an eighth at most."""


class GuardedProtocol(HttpToolsProtocol):
    """One connection from a client. `config.app` is the Gateway."""

    def __init__(self, config: Any, *args: Any, **options: Any) -> None:
        super().__init__(config, *args, **options)
        if not isinstance(config.app, Gateway):
            raise TypeError("this protocol serves a Gateway alone")
        self.gateway = config.app
        settings = self.gateway.settings
        self._read_seconds, self._write_seconds = settings.read_seconds, settings.write_seconds
        self._period = min(self._read_seconds, self._write_seconds) / _LOOKS
        self.receiving = False
        """A request has begun, and is not complete."""
        self.silent = 0
        """Bytes since something came that is body."""
        self.due = inf
        """When what is being received must be complete."""
        self.idle_since = inf
        """When the last answer was complete, where nothing has come since."""
        self.running: RequestResponseCycle | None = None
        """What is being answered. `cycle` is what came last: it need not be the same."""
        self._in_head = False
        self._head: list[tuple[bytes, bytes]] = []
        """The headers of the request that came last."""
        self._deaf = False
        """Nothing more is heard on this connection."""
        self._unsent = 0
        self._taken_at = inf
        self._timer: asyncio.TimerHandle | None = None

    # the connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn types it
        """Somebody has come: he is to ask for something."""
        super().connection_made(transport)
        self.due = self.loop.time() + self._read_seconds
        self._timer = self.loop.call_later(self._period, self._look)

    def data_received(self, data: bytes) -> None:
        """Feed the parser; while a request is not complete, its time runs."""
        if self._deaf:
            return
        self._unset_keepalive_if_required()
        self.silent += len(data)
        self._feed(data)
        if self.receiving:
            if self.silent > _MAX_SILENT_BYTES:
                self.refuse(HeadTooLargeError(f"the head is larger than {_MAX_SILENT_BYTES} bytes"))
            elif self.due == inf:
                self.due = self.loop.time() + self._read_seconds
        elif self.due == inf and not self.busy():  # line ends, of which no request need ever come
            self.due = self.loop.time() + self._read_seconds

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever is answering: uvicorn itself tells the request that came last."""
        super().connection_lost(exc)
        if self._timer is not None:
            self._timer.cancel()
        if self.running is not None:
            _lose(self.running)

    # the parser's callbacks

    def begin(self) -> None:
        """Note that a request begins."""
        self.receiving = self._in_head = True
        self.idle_since = inf
        self.silent = 0
        self.due = inf

    def head_ends(self) -> list[tuple[bytes, bytes]]:
        """Note that its head is complete, and return the headers. Trailers end up in a list that nobody reads."""
        self._in_head = False
        self._head, self.headers = self.headers, []
        return self._head

    def end(self) -> None:
        """Note that it is complete."""
        self.receiving = False
        self.due = inf

    def on_message_begin(self) -> None:
        """A request begins."""
        self.begin()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its head is complete."""
        if self.parser.should_upgrade():
            return  # it will come again, without the offer
        self._check_version()
        super().on_headers_complete()
        self.head_ends()
        if 0 < len(self.pipeline) < _MAX_PIPELINED:
            self.flow.resume_reading()  # who does not read does not see that the client has gone

    def on_body(self, body: bytes) -> None:
        """A piece of its body."""
        self.silent = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """It is complete."""
        if self.parser.should_upgrade():
            return
        self.end()
        super().on_message_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self.running = cycle
        super()._start_asgi_task(cycle, app)

    # refusals

    def refuse(self, error: ApiError) -> None:
        """Refuse what is being received, after the answers to what came before it, and hear no more of this client."""
        self._deaf = True
        self.due = inf
        cycle: RequestResponseCycle | None = self.cycle
        if self.transport.is_closing():
            return
        if cycle is not None and self.receiving and not self._in_head:  # somebody has begun with this very request
            if cycle.response_complete:
                self.hang_up()
                return
            if not cycle.response_started:
                cycle = self._without(cycle)
        if cycle is None or cycle.response_complete:
            self.gateway.metrics.error(error.status, error.code)
            headers = self.headers if self._in_head else self._head
            self.transport.write(refusal(error, headers))
            self.hang_up()
        else:
            cycle.keep_alive = False  # the connection is closed after its answer

    def hang_up(self) -> None:
        """Close, once the client has read its answer: closing on one that still sends takes it away from him."""
        if self.receiving or self._deaf:
            self._deaf = True
            self.due = self.loop.time() + _LINGER_SECONDS
            self.transport.write_eof()
        else:
            self.transport.close()

    def busy(self) -> bool:
        """Whether a request is under way that is not answered yet."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def _without(self, cycle: RequestResponseCycle) -> RequestResponseCycle | None:
        """Drop the request that came last; the one before it, where that is not answered yet."""
        if self.pipeline and self.pipeline[0][0] is cycle:
            self.pipeline.popleft()
            return self.pipeline[0][0] if self.pipeline else self.running
        _lose(cycle)
        return None

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._feed_on(memoryview(data)[offer.args[0] :])
        except httptools.HttpParserError as error:
            self.refuse(meaning(error))

    def _feed_on(self, rest: memoryview) -> None:
        """Go on behind the head of a request that offers another protocol."""
        try:
            self._read_again()
            while rest:
                try:
                    self.parser.feed_data(rest)
                except httptools.HttpParserUpgrade as offer:
                    rest = rest[offer.args[0] :]
                    self._read_again()
                else:
                    return
        except httptools.HttpParserError as error:
            self.refuse(meaning(error))
        except ApiError as error:
            self.refuse(error)

    def _read_again(self) -> None:
        """Read a head again as if it had offered no other protocol, so that its body is read as well."""
        method = self.parser.get_method()
        if method == b"CONNECT":
            raise MethodNotAllowedError("CONNECT: this is a gateway to models, not a proxy")
        kept = b"".join(b"%b: %b\r\n" % header for header in self.headers if header[0] != b"upgrade")
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn has it; it is not read
        self.parser.feed_data(b"%b %b HTTP/1.1\r\n%b\r\n" % (method, self.url, kept))

    def _check_version(self) -> None:
        """Refuse what has no chunks, by its version, and says that it has: who stands in front may not believe it."""
        version = self.parser.get_http_version()
        if version != "1.1" and (version != "1.0" or any(name == b"transfer-encoding" for name, _ in self.headers)):
            what = "only HTTP/1.1, and HTTP/1.0 without transfer-encoding, are spoken here"
            raise InvalidRequestError(what, code="invalid_http")

    # time

    def _look(self) -> None:
        """See whether the client keeps us waiting."""
        now = self.loop.time()
        unsent = self.transport.get_write_buffer_size()
        if unsent == 0 or unsent < self._unsent or self._taken_at == inf:
            self._taken_at = now
        self._unsent = unsent
        self._timer = self.loop.call_later(self._period, self._look)
        if now - self._taken_at >= self._write_seconds:
            self.transport.abort()
        elif now >= self.due:
            self._end()
        elif now - self.idle_since >= self.timeout_keep_alive:
            self.transport.close()

    def resume_writing(self) -> None:
        """The client has taken in most of what was sent."""
        self._taken_at = self.loop.time()
        super().resume_writing()

    def _end(self) -> None:
        """The time of the request that is being received is over."""
        if self._deaf or not self.receiving:
            self.transport.abort()
        else:
            late = f"the request did not come whole within {self._read_seconds:g} s (gateway.read_seconds)"
            self.refuse(RequestTimeoutError(late))


def _lose(cycle: RequestResponseCycle) -> None:
    """Whoever works on it is to stop."""
    if not cycle.response_complete:
        cycle.disconnected = True
        cycle.message_event.set()
