"""The upstream of every gateway in `benchmarks.gateway`: ready-made whole answers, paced streams, and nothing else.

    python -m benchmarks._gateway_upstream --port 9000 --version v1

It answers as a student server would, the vendor field `tutelage` included, so that Tutelage judges confidence, label
and trust as it does in earnest. A stream has as many events as the request's `max_tokens` says, 5 ms apart; a client
that falls behind gets them later, never faster. One event loop, a parser in C, nothing rendered at request time: the
benchmark's line "direct" shows how far it is from being what is measured.
"""

from __future__ import annotations

import argparse
import asyncio
from typing import Final

import httptools
import msgspec
import uvloop

from benchmarks._gateway_stock import EVENTS, Stock, http_answer
from core import wire

PACE_SECONDS: Final = 0.005

_SLOTS: Final = 5


class _Options(msgspec.Struct):
    include_usage: bool = False


class _Request(msgspec.Struct):
    stream: bool | None = False
    max_tokens: int | None = None
    stream_options: _Options | None = None


_request_decoder = msgspec.json.Decoder(_Request)


class Wheel:
    """All streams under way, in slots a millisecond apart; each turn sends one event to every stream of a slot.

    A turn that comes late is not made up for: every stream simply gets slower, as those of a busy server do.
    """

    def __init__(self) -> None:
        self._slots: tuple[set[Connection], ...] = tuple(set() for _ in range(_SLOTS))
        self._turns = 0

    @property
    def streams(self) -> int:
        """Streams under way."""
        return sum(len(slot) for slot in self._slots)

    def add(self, connection: Connection) -> set[Connection]:
        """Take a stream in; returns the slot in which it waits. Its next event comes after a full pace."""
        slot = self._slots[(self._turns - 1) % _SLOTS]
        slot.add(connection)
        return slot

    async def turn(self) -> None:
        """Turn until cancelled."""
        loop = asyncio.get_running_loop()
        step = PACE_SECONDS / _SLOTS
        due = loop.time()
        while True:
            due = max(due + step, loop.time())
            await asyncio.sleep(due - loop.time())
            slot = self._slots[self._turns % _SLOTS]
            self._turns += 1
            for connection in tuple(slot):
                connection.send_event()


class Connection(asyncio.Protocol):
    """One client, which asks one thing at a time."""

    def __init__(self, stock: Stock, wheel: Wheel, open_connections: set[Connection]) -> None:
        self._stock = stock
        self._wheel = wheel
        self._open = open_connections
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._body = b""
        self._slot: set[Connection] | None = None
        self._left = 0
        self._usage = False

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a server's transports read and write
        self._open.add(self)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._close()

    def connection_lost(self, _: Exception | None) -> None:
        self._open.discard(self)
        self._leave()
        self._transport = None

    # httptools' callbacks; there is none for headers, so that it does not call us for them

    def on_url(self, url: bytes) -> None:
        self._url = url

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        body, self._body = self._body, b""
        if self._parser.get_method() != b"POST":
            self._write(self._page())
            return
        if b'"stream"' in body:
            request = _request_decoder.decode(body)
            if request.stream:
                self._start(request)
                return
        self._write(self._stock.whole)

    def send_event(self) -> None:
        """Send the next event of the stream, and what ends it after the last."""
        self._left -= 1
        if self._left > 0:
            self._write(self._stock.event)
            return
        self._leave()
        self._write(self._stock.last_event + (self._stock.usage if self._usage else b"") + self._stock.done)

    def _start(self, request: _Request) -> None:
        self._left = max(1, request.max_tokens or EVENTS)
        self._usage = request.stream_options is not None and request.stream_options.include_usage
        self._write(self._stock.stream_head)
        self._slot = self._wheel.add(self)
        self.send_event()

    def _leave(self) -> None:
        if self._slot is not None:
            self._slot.discard(self)
            self._slot = None

    def _page(self) -> bytes:
        path = self._url.partition(b"?")[0]
        if path == b"/stats":
            # The connection that asks does not count.
            stats = {"connections": len(self._open) - 1, "streams": self._wheel.streams}
            return http_answer(wire.encode_json(stats))
        if path == b"/v1/models":
            return self._stock.models
        return self._stock.fine if path.startswith((b"/health", b"/ready")) else self._stock.missing

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()


async def serve(port: int, version: str) -> None:
    """Serve on the loopback address until cancelled."""
    stock, wheel, connections = Stock(version), Wheel(), set[Connection]()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(stock, wheel, connections), "127.0.0.1", port, backlog=4096)
    async with server:
        await asyncio.gather(server.serve_forever(), wheel.turn())


def main() -> None:
    """Entry point of `python -m benchmarks._gateway_upstream`."""
    parser = argparse.ArgumentParser(prog="benchmarks._gateway_upstream", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--version", default="v1", help="version of the student that it claims to be")
    arguments = parser.parse_args()
    uvloop.run(serve(arguments.port, arguments.version))


if __name__ == "__main__":
    main()
