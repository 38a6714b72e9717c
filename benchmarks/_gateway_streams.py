"""Streams under load: a client that reads many streams at once, or breaks them off, and counts.

    python -m benchmarks._gateway_streams --url http://127.0.0.1:8080 --streams 256 --seconds 3

Prints one JSON object. It runs as a process of its own, on the load generator's core; one event loop, and no parsing
beyond what counting needs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import uvloop

from benchmarks._gateway_process import ROOT, StartError
from benchmarks._gateway_wrk import CHAT, bodies_for

_EVENT: Final = b"data:"
_DONE: Final = b"[DONE]"
_END: Final = b"0\r\n\r\n"
"""What ends a chunked body."""
_BEGINNING_SECONDS: Final = 0.5
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


@dataclass(frozen=True, slots=True)
class StreamLoad:
    """The same, summed up."""

    streams: int
    events: int
    events_in_all: int
    failed: int
    seconds: float
    first_p50_ms: float | None
    first_p99_ms: float | None

    @property
    def events_per_second(self) -> float:
        """Events that arrived in a second."""
        return self.events / self.seconds


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


async def read_streams(url: str, request: bytes, *, streams: int, seconds: float) -> Counts:
    """Keep `streams` streams going for so long, after a while for all of them to begin.

    A connection that the gateway closes is opened anew.
    """
    counts, loop = Counts(), asyncio.get_running_loop()
    until = loop.time() + _BEGINNING_SECONDS + seconds
    workers = [asyncio.create_task(_keep_reading(url, request, counts, until)) for _ in range(streams)]
    await asyncio.sleep(_BEGINNING_SECONDS)
    begun, early, started = counts.events, len(counts.first_ms), time.perf_counter()
    await asyncio.sleep(seconds)
    seen = replace(
        counts,
        events=counts.events - begun,
        events_in_all=counts.events,
        first_ms=counts.first_ms[early:],
        seconds=time.perf_counter() - started,
    )
    await asyncio.gather(*workers)
    return seen


async def break_off_streams(url: str, request: bytes, *, streams: int, count: int, longest: int) -> Counts:
    """Open `count` streams, `streams` at once, and close each after 1 to `longest` events, every other by a reset."""
    counts, left, loop = Counts(), iter(range(count)), asyncio.get_running_loop()
    started = loop.time()

    async def work(rng: random.Random) -> None:
        for number in left:
            reader = await _connect(
                url, Reader(request, counts, break_after=rng.randint(1, longest), abort=number % 2 == 0)
            )
            await reader.over

    await asyncio.gather(*(work(random.Random(number)) for number in range(streams)))
    counts.seconds = loop.time() - started
    return counts


def request_bytes(url: str, model: str, headers: dict[str, str], events: int) -> bytes:
    """A streamed request of so many events, ready to be sent."""
    document: dict[str, Any] = json.loads(bodies_for(model)[0])
    body = json.dumps(document | {"stream": True, "max_tokens": events}).encode()
    head = {"host": urlsplit(url).netloc, "content-length": str(len(body))} | headers
    lines = [f"POST {CHAT} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def run_streams(url: str, model: str, headers: dict[str, str], *, core: int, **options: float) -> StreamLoad:
    """Run this module as a process on `core`; `options` are those of its command line. Raises StartError."""
    words = [f"--{name.replace('_', '-')}={value:g}" for name, value in options.items()]
    command = [sys.executable, "-m", "benchmarks._gateway_streams", "--url", url, "--model", model, *words]
    try:
        done = subprocess.run(
            ["taskset", "-c", str(core), *command, "--headers", json.dumps(headers)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=600,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise StartError(f"the streaming client failed: {getattr(error, 'stderr', None) or error}") from error
    return msgspec.json.decode(done.stdout, type=StreamLoad)


def quantile(values: list[float], share: float) -> float | None:
    """The value that `share` of all do not exceed; None where there is none."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else None


async def _keep_reading(url: str, request: bytes, counts: Counts, until: float) -> None:
    loop = asyncio.get_running_loop()
    while (left := until - loop.time()) > 0:
        try:
            reader = await _connect(url, Reader(request, counts))
        except OSError:
            counts.failed += 1
            await asyncio.sleep(0.05)
            continue
        await asyncio.wait((reader.over,), timeout=left)
        reader.stop()
        await reader.over


async def _connect(url: str, reader: Reader) -> Reader:
    host, _, port = urlsplit(url).netloc.partition(":")
    await asyncio.get_running_loop().create_connection(lambda: reader, host, int(port))
    return reader


def main() -> None:
    """Entry point of `python -m benchmarks._gateway_streams`."""
    parser = argparse.ArgumentParser(prog="benchmarks._gateway_streams", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--url", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--headers", type=json.loads, default={}, help="a JSON object")
    parser.add_argument("--streams", type=int, default=64, help="at once")
    parser.add_argument("--events", type=int, default=50, help="of a stream")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--break-off", type=int, help="open so many streams, and close each in the middle")
    parser.add_argument(
        "--longest", type=int, default=10, help="events after which a stream is broken off at the latest"
    )
    given = parser.parse_args()
    request = request_bytes(given.url, given.model, given.headers, given.events)
    if given.break_off:
        work = break_off_streams(
            given.url, request, streams=given.streams, count=given.break_off, longest=given.longest
        )
    else:
        work = read_streams(given.url, request, streams=given.streams, seconds=given.seconds)
    counts = uvloop.run(work)
    first = counts.first_ms
    load = StreamLoad(
        streams=counts.streams,
        events=counts.events,
        events_in_all=counts.events_in_all,
        failed=counts.failed,
        seconds=counts.seconds,
        first_p50_ms=quantile(first, 0.5),
        first_p99_ms=quantile(first, 0.99),
    )
    print(json.dumps(asdict(load)))


if __name__ == "__main__":
    main()
