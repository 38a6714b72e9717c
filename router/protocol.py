"""uvicorn's HTTP protocol, with a shorter way for the requests that models answer.

uvicorn keeps what a server is: sockets, parsing, keep-alive, pipelining, flow control, draining. For these requests
alone the way between its parser and `Inference` is ours: no scope, no messages, one write for head and body. That
halves what a request costs before anything has been decided; everything else goes through ASGI as ever.

A request that does not come whole within `gateway.read_seconds` is given up (408): who sends a byte now and then must
not hold a connection for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from http import HTTPStatus
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from core import wire
from core.errors import ApiError, InvalidRequestError, RequestTimeoutError
from router.app import Gateway
from router.client import EVENTS, JSON, Client, ClientGoneError, Headers, empty, too_large

_STATUS_LINES: Final = {
    status.value: b"HTTP/1.1 %d %s\r\n" % (status.value, status.phrase.encode()) for status in HTTPStatus
}
_CLOSE: Final = (b"connection", b"close")


class GatewayProtocol(HttpToolsProtocol):
    """One connection from a client. `config.app` is the Gateway."""

    def __init__(self, config: Any, *args: Any, **options: Any) -> None:
        super().__init__(config, *args, **options)
        gateway = config.app
        if not isinstance(gateway, Gateway):
            raise TypeError("this protocol serves a Gateway alone")
        self._inference = gateway.inference
        self._dialects = {path.encode(): dialect for path, dialect in gateway.dialects.items()}
        self._max_body_bytes = gateway.settings.max_body_bytes
        self._read_seconds = gateway.settings.read_seconds
        self._direct: _DirectClient | None = None
        """The request that is being received, where it takes the short way."""
        self._answering: _DirectClient | None = None
        """The one that is being answered. It need not be the same: a client may send the next before its answer."""
        self._receiving = False
        self._patience: asyncio.TimerHandle | None = None

    # the connection

    def data_received(self, data: bytes) -> None:
        """Feed the parser; while a request is not complete, its time runs."""
        super().data_received(data)
        if self._receiving:
            if self._patience is None:
                self._patience = self.loop.call_later(self._read_seconds, self._too_slow)
        elif self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever is answering."""
        super().connection_lost(exc)
        if self._patience is not None:
            self._patience.cancel()
        if self._answering is not None:
            self._answering.lose()
        if self._direct is not None:
            self._direct.lose()

    # the parser's callbacks

    def on_message_begin(self) -> None:
        """Forget the last request. uvicorn's own would build a scope, which the short way does not need."""
        self._receiving = True
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_headers_complete(self) -> None:
        """Choose the way."""
        parser = self.parser
        dialect = self._dialects.get(self.url)
        if (
            dialect is None
            or parser.get_method() != b"POST"
            or self.expect_100_continue
            or self._busy()  # pipelined: uvicorn keeps the order
            or parser.get_http_version() != "1.1"
            or parser.should_upgrade()
        ):
            self._take_the_long_way()
            return
        direct = _DirectClient(self, self.headers, self._max_body_bytes, parser.should_keep_alive())
        self.cycle = self._direct = direct  # type: ignore[assignment]  # it has all that uvicorn asks of a cycle
        direct.start_answer = self._inference.serve(dialect, direct)

    def on_body(self, body: bytes) -> None:
        """Collect the body."""
        direct = self._direct
        if direct is None:
            super().on_body(body)
        elif not direct.take(body):
            self._answer(direct)  # it is too large: that can be said before it has all come

    def on_message_complete(self) -> None:
        """Answer."""
        self._receiving = False
        direct, self._direct = self._direct, None
        if direct is None:
            super().on_message_complete()
        else:
            self._answer(direct)

    # what a client of ours asks of its connection

    def answered(self, client: _DirectClient) -> None:
        """The answer is complete."""
        self._answering = None
        if client.keep_alive:
            self.on_response_complete()
        else:
            self.transport.close()

    # errors that have no request to belong to

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP, in OpenAI's shape."""
        self._refuse(InvalidRequestError(f"this is not a valid HTTP request: {msg}", code="invalid_http"))

    def _too_slow(self) -> None:
        self._patience = None
        if self._direct is not None or not self._busy():
            late = f"the request did not come whole within {self._read_seconds:g} s (gateway.read_seconds)"
            self._refuse(RequestTimeoutError(late))

    def _busy(self) -> bool:
        """Whether a request is under way that is not answered yet."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def _refuse(self, error: ApiError) -> None:
        if self._direct is not None:
            self._direct.lose()
        if not self.transport.is_closing():
            body = wire.error_body(error)
            self.transport.write(_head(error.status, [JSON, _length(body), _CLOSE]) + body)
            self.transport.close()

    def _answer(self, client: _DirectClient) -> None:
        work = client.start_answer
        if work is None:
            return  # begun already
        client.start_answer = None
        self._answering = client
        task = self.loop.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def _take_the_long_way(self) -> None:
        """Go on as uvicorn does."""
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers += headers
        super().on_headers_complete()


class _DirectClient(Client):
    """The client of a request that takes the short way."""

    __slots__ = (
        "_connection", "_head", "_limit", "_pieces", "_size", "_task", "disconnected", "headers", "keep_alive",
        "message_event", "response_complete", "start_answer",
    )  # fmt: skip

    def __init__(
        self, connection: GatewayProtocol, headers: list[tuple[bytes, bytes]], limit: int, keep_alive: bool
    ) -> None:
        self._connection = connection
        self._limit = limit
        self._pieces: list[bytes] = []
        self._size = 0
        self._head: bytes | None = None
        self._task: asyncio.Task[Any] | None = None
        self.headers = headers
        self.keep_alive = keep_alive
        self.start_answer: Coroutine[Any, Any, None] | None = None
        self.response_complete = False
        self.disconnected = False
        self.message_event = self  # uvicorn sets an event where the connection is lost; `lose` does all that is needed

    # the connection's side

    def take(self, piece: bytes) -> bool:
        """Take a piece of the body. False: it has become too large, and no more is kept."""
        self._size += len(piece)
        if self._size > self._limit:
            self.keep_alive = False
            self._pieces.clear()
            return False
        self._pieces.append(piece)
        return True

    def lose(self) -> None:
        """The connection is gone."""
        self.disconnected = True
        if self.start_answer is not None:
            self.start_answer.close()
            self.start_answer = None
        if self._task is not None:
            self._task.cancel()

    def set(self) -> None:
        """Nobody waits for the event that uvicorn sets."""

    # the answer's side

    async def read(self, limit: int) -> bytes:
        """The body, which has come already."""
        if self._size > limit:
            raise too_large(limit)
        if not self._size:
            raise empty()
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)

    async def answer(self, status: int, body: bytes, headers: Headers) -> None:
        """Send a whole JSON answer, in one write."""
        if not self.disconnected:
            self._connection.transport.write(self._finished(status, [JSON, _length(body), *headers]) + body)
            self._done()

    async def start(self, headers: Headers) -> None:
        """Keep the head: it goes out with the first events."""
        self._head = self._finished(200, [*EVENTS, (b"transfer-encoding", b"chunked"), *headers])

    async def send(self, events: bytes, *, last: bool) -> None:
        """Send events as a chunk, and wait while the client takes in less than we send."""
        flow = self._connection.flow
        if flow.write_paused and not self.disconnected:
            await flow.drain()
        if self.disconnected:
            return
        head, self._head = self._head, None
        chunk = b"%x\r\n%b\r\n" % (len(events), events) if events else b""
        self._connection.transport.write(b"%b%b%b" % (head or b"", chunk, b"0\r\n\r\n" if last else b""))
        if last:
            self._done()

    async def unless_gone(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` in this very task, which the connection cancels where it is lost."""
        if self.disconnected:
            work.close()
            raise ClientGoneError
        self._task = asyncio.current_task()
        try:
            await work
        except asyncio.CancelledError:
            if self._was_cancelled_by_loss():
                raise ClientGoneError from None
            raise
        finally:
            self._task = None

    def _was_cancelled_by_loss(self) -> bool:
        """Whether it was the lost connection that cancelled the task; that request is done with then."""
        return self.disconnected and self._task is not None and self._task.uncancel() == 0

    def _finished(self, status: int, headers: Headers) -> bytes:
        if not self.keep_alive:
            headers.append(_CLOSE)
        return _head(status, headers)

    def _done(self) -> None:
        self.response_complete = True
        self._connection.answered(self)


def _head(status: int, headers: Headers) -> bytes:
    """Status line and headers. Raises ValueError where one of them would end its line."""
    lines = b"".join([b"%b: %b\r\n" % header for header in headers])
    if lines.count(b"\n") != len(headers):
        raise ValueError("a header holds a line break")
    return (_STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status) + lines + b"\r\n"


def _length(body: bytes) -> tuple[bytes, bytes]:
    return b"content-length", b"%d" % len(body)
