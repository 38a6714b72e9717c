"""An upstream for tests that says exactly the bytes it is told, and hangs up when it likes.

It runs in the test's own event loop. Each connection is a `Conversation`, and a coroutine function leads it; when that
returns, the connection is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field


@dataclass
class Conversation:
    """One connection, seen from the server."""

    number: int
    """1 for the first connection of this server."""
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    server: RawUpstream

    async def hear(self) -> bytes | None:
        """Read one request, head and body; None once the client has closed the connection."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            self.server.hung_up.set()
            return None
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        request = head + await self.reader.readexactly(length)
        self.server.requests.append(request)
        return request

    async def say(self, *pieces: bytes, pause: float = 0.0) -> None:
        """Send pieces, each in a packet of its own where there is a pause."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            if pause:
                await asyncio.sleep(pause)

    def stop_reading(self) -> None:
        """Leave what the client sends where it is."""
        self.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a connection's can, though typed otherwise

    async def until_hung_up(self) -> None:
        """Wait until the client closes the connection."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(65536):
                pass
        self.server.hung_up.set()


Behaviour = Callable[[Conversation], Awaitable[None]]


@dataclass
class RawUpstream:
    """What the server has seen."""

    url: str = ""
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)


def whole(body: bytes = b"{}", status: bytes = b"200 OK", *headers: bytes) -> bytes:
    """A whole answer with a content length."""
    lines = [b"HTTP/1.1 " + status, b"content-type: application/json", b"content-length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
STREAM_END = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def answering(answer: bytes) -> Behaviour:
    """Answer every request with the same bytes."""

    async def behave(conversation: Conversation) -> None:
        while await conversation.hear() is not None:
            await conversation.say(answer)

    return behave


@contextlib.asynccontextmanager
async def raw_upstream(
    behave: Behaviour, *, port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[RawUpstream]:
    """Serve on a free loopback port. A behaviour that fails fails the test."""
    seen = RawUpstream()
    under_way: set[asyncio.Task[None]] = set()
    failures: list[BaseException] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.connections += 1
        task = asyncio.current_task()
        assert task is not None
        under_way.add(task)
        try:
            await behave(Conversation(seen.connections, reader, writer, seen))
        except (asyncio.CancelledError, ConnectionError):
            pass
        except Exception as error:  # noqa: BLE001  # told at the end, where it fails the test
            failures.append(error)
        finally:
            under_way.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", port, ssl=tls)
    host, bound = server.sockets[0].getsockname()[:2]
    seen.url = f"{'https' if tls else 'http'}://{host}:{bound}"
    try:
        yield seen
    finally:
        server.close()
        tasks = list(under_way)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
    assert not failures, failures
