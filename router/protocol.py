"""uvicorn's HTTP protocol, with a shorter way for the requests that models answer.

uvicorn keeps what a server is: sockets, parsing, keep-alive, pipelining, flow control, draining. For these requests
alone the way between its parser and `Inference` is ours: no scope, no messages, one write for head and body. That
halves what a request costs before anything has been decided; everything else goes through ASGI as ever. What clients
must not be able to do to a connection is seen to in `router/guard.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from http import HTTPStatus
from typing import Any, Final

from router.client import EVENTS, Client, ClientGoneError, Lines, empty, header_lines, too_large
from router.guard import GuardedProtocol

_STATUS_LINES: Final = {
    status.value: b"HTTP/1.1 %d %s\r\n" % (status.value, status.phrase.encode()) for status in HTTPStatus
}
_STREAM_HEAD: Final = _STATUS_LINES[200] + header_lines((*EVENTS, (b"transfer-encoding", b"chunked")))
_CLOSE: Final = b"connection: close\r\n"


class GatewayProtocol(GuardedProtocol):
    """One connection from a client. `config.app` is the Gateway."""

    def __init__(self, config: Any, *args: Any, **options: Any) -> None:
        super().__init__(config, *args, **options)
        gateway = self.gateway
        self._inference = gateway.inference
        self._dialects = {path.encode(): dialect for path, dialect in gateway.dialects.items()}
        self._max_body_bytes = gateway.settings.max_body_bytes
        self._direct: _DirectClient | None = None
        """The request that is being received, where it takes the short way."""

    # the parser's callbacks

    def on_message_begin(self) -> None:
        """Forget the last request. uvicorn's own would build a scope, which the short way does not need."""
        self.begin()
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
            or self.busy()  # pipelined: uvicorn keeps the order
            or parser.get_http_version() != "1.1"
            or parser.should_upgrade()
        ):
            self._take_the_long_way()
            return
        headers = self.head_ends()
        direct = _DirectClient(self, headers, self._max_body_bytes, parser.should_keep_alive())
        self.cycle = self._direct = direct  # type: ignore[assignment]  # it has all that uvicorn asks of a cycle
        direct.start_answer = self._inference.serve(dialect, direct)
        if not direct.expect():
            self._answer(direct)  # it will be too large: nobody need send it

    def on_body(self, body: bytes) -> None:
        """Collect the body."""
        direct = self._direct
        if direct is None:
            super().on_body(body)
            return
        self.silent = 0
        if not direct.take(body):
            self._answer(direct)  # it is too large: that can be said before it has all come

    def on_message_complete(self) -> None:
        """Answer."""
        direct, self._direct = self._direct, None
        if direct is None:
            super().on_message_complete()
        else:
            self.end()
            self._answer(direct)

    # what a client of ours asks of its connection

    def answered(self, client: _DirectClient) -> None:
        """The answer is complete."""
        self.running = None
        if not client.keep_alive:
            self.hang_up()
        elif self.pipeline or self.transport.is_closing():
            self.on_response_complete()
        else:  # as uvicorn does, but for a timer: the guard looks at every connection anyway
            self.server_state.total_requests += 1
            self.idle_since = self.loop.time()

    def _answer(self, client: _DirectClient) -> None:
        work = client.start_answer
        if work is None:
            return  # begun already
        client.start_answer = None
        self.running = client  # type: ignore[assignment]
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
        "_begun", "_connection", "_head", "_limit", "_lost", "_pieces", "_size", "_task", "disconnected", "headers",
        "keep_alive", "message_event", "response_complete", "start_answer",
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
        self.message_event = self  # uvicorn sets an event where the connection is lost
        self._lost = False
        self._begun = False

    # the connection's side

    def expect(self) -> bool:
        """Whether a body as large as is announced may come."""
        for name, value in self.headers:
            if name == b"content-length":
                length = int(value)  # the parser lets digits through, and not too many of them
                if length > self._limit:
                    self._size = length
                    self.keep_alive = False
                    return False
        return True

    def take(self, piece: bytes) -> bool:
        """Take a piece of the body. False: it has become too large, and no more is kept."""
        self._size += len(piece)
        if self._size > self._limit:
            self.keep_alive = False
            self._pieces.clear()
            return False
        self._pieces.append(piece)
        return True

    @property
    def response_started(self) -> bool:
        """Whether somebody is at work on the answer."""
        return self.start_answer is None

    def set(self) -> None:
        """The connection is gone: whoever works on the answer is to stop."""
        self.disconnected = True
        if self._lost:
            return
        self._lost = True
        if self.start_answer is not None:
            self.start_answer.close()
            self.start_answer = None
        if self._task is not None:
            self._task.cancel()

    # the answer's side

    async def read(self, limit: int) -> bytes:
        """The body, which has come already."""
        if self._size > limit:
            raise too_large(limit)
        if not self._size:
            raise empty()
        pieces, self._pieces = self._pieces, []  # the connection keeps its last request
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def answer(self, status: int, body: bytes, lines: Lines) -> None:
        """Send a whole JSON answer, in one write."""
        if self._begun:
            self._connection.transport.abort()  # half of another answer is out: nothing better can be said
        elif not self.disconnected:
            status_line = _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status
            self._connection.transport.write(
                b"%bcontent-type: application/json\r\ncontent-length: %d\r\n%b%b\r\n%b"
                % (status_line, len(body), lines, b"" if self.keep_alive else _CLOSE, body)
            )
            self._done()

    async def start(self, lines: Lines) -> None:
        """Keep the head: it goes out with the first events."""
        self._head = b"%b%b%b\r\n" % (_STREAM_HEAD, lines, b"" if self.keep_alive else _CLOSE)

    async def send(self, events: bytes, *, last: bool) -> None:
        """Send events as a chunk, and wait while the client takes in less than we send."""
        flow = self._connection.flow
        if flow.write_paused and not self.disconnected:
            await flow.drain()
        if self.disconnected:
            return
        head, self._head = self._head, None
        self._begun = True
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

    def _done(self) -> None:
        self.response_complete = True
        self._connection.answered(self)
