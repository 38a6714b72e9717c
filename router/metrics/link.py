"""One `/metrics` for several processes: each worker hands its report to the parent, which shows the sum.

    worker -> parent   a report, twice a second, with every scrape, and at the end; a scrape asks for the sum with it
    parent -> worker   the sum, in Prometheus' text format, for each one that was asked for

They talk over a socket pair that the worker inherits: there is no file that a former run could leave behind, and the
kernel tells the parent when a worker is gone. What a worker last reported stays counted then, gauges excepted; so no
counter ever goes back while the parent lives, and a worker that was killed takes at most half a second of counts with
it. Only what was reported is ever shown, therefore two scrapes never contradict each other, whichever workers they
reach.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import structlog

from core.errors import UnavailableError
from router.metrics.report import Report, merge, render
from router.metrics.series import Metrics

_log = structlog.get_logger(__name__)

REPORT_SECONDS: Final = 0.5
"""The longest that a worker keeps its counts to itself."""

_LENGTH: Final = struct.Struct(">I")
_ANSWER_SECONDS: Final = 5.0


class _Message(msgspec.Struct, array_like=True):
    """What a worker sends."""

    report: Report
    asks: bool


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Message)


class Reporter:
    """The worker's end."""

    def __init__(self, metrics: Metrics, channel: socket.socket, *, seconds: float = REPORT_SECONDS) -> None:
        """`channel` is one end of a socket pair; the reporter closes it."""
        self._metrics = metrics
        self._channel = channel
        self._seconds = seconds
        self._asked: deque[asyncio.Future[bytes]] = deque()
        self._hung_up = False
        self._tasks: tuple[asyncio.Task[None], ...] = ()

    async def start(self) -> None:
        """Begin reporting, and answer the worker's `/metrics` with the sum."""
        reader, self._writer = await asyncio.open_unix_connection(sock=self._channel)
        self._tasks = (asyncio.create_task(self._report()), asyncio.create_task(self._listen(reader)))
        self._metrics.exposed_by(self.exposition)

    async def stop(self) -> None:
        """Report for the last time and hang up."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(OSError):  # the parent is gone, and nobody will ask any more
            self._send(asks=False)
            await self._writer.drain()
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def exposition(self) -> bytes:
        """The numbers of all processes. Raises UnavailableError where the parent does not answer in time."""
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        try:
            self._ask(answer)
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await answer
        except (OSError, TimeoutError) as error:
            raise UnavailableError(
                "the gateway's parent process does not answer; see its log, and try again", retry_after=1
            ) from error

    def _ask(self, answer: asyncio.Future[bytes]) -> None:
        if self._hung_up:
            raise ConnectionResetError("the parent has hung up")
        self._asked.append(answer)
        self._send(asks=True)

    def _send(self, *, asks: bool) -> None:
        _write(self._writer, _encoder.encode(_Message(self._metrics.report(), asks)))

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(self._seconds)  # at first: what is measured before the worker serves says nothing
            self._send(asks=False)
            await self._writer.drain()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        """Answers come in the order of the questions; those that nobody waits for any more are passed over."""
        try:
            while True:
                text = await _read(reader)
                answer = self._asked.popleft()
                if not answer.done():
                    answer.set_result(text)
        except (asyncio.IncompleteReadError, OSError):
            _log.warning("parent_gone", effect="metrics are not shown any more")
        finally:
            self._hung_up = True
            for answer in self._asked:
                if not answer.done():
                    answer.set_exception(ConnectionResetError("the parent has hung up"))


class MetricsHub:
    """The parent's end: the last report of every worker, and what those that are gone have left."""

    def __init__(self, own: Callable[[], Awaitable[Report]]) -> None:
        """`own` gives the parent's numbers."""
        self._own = own
        self._gone = Report()
        self._present: dict[socket.socket, Report] = {}

    async def serve(self, channel: socket.socket) -> None:
        """Take a worker's reports until it is gone. `channel` is the other end of its socket pair; it is closed."""
        reader, writer = await asyncio.open_unix_connection(sock=channel)
        try:
            while True:
                message = _decoder.decode(await _read(reader))
                self._present[channel] = message.report
                if message.asks:
                    _write(writer, await self.render())
                    await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            pass  # the worker has ended or was killed
        finally:
            self._gone = merge((self._gone, self._present.pop(channel, Report()).counters()))
            writer.close()

    async def render(self) -> bytes:
        """The sum, in Prometheus' text format."""
        own = await self._own()
        return render(merge((self._gone, *self._present.values(), own)))


def _write(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(_LENGTH.pack(len(data)) + data)


async def _read(reader: asyncio.StreamReader) -> bytes:
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    return await reader.readexactly(length)
