"""Streams under load: a client that reads many streams at once, or breaks them off, and counts.

    python -m benchmarks._gateway_streams --url http://127.0.0.1:8080 --model intents --streams 256

Prints one JSON object. It runs as a process of its own, on the load generator's core, in one event loop.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import uvloop

from benchmarks._gateway_process import ROOT, StartError
from benchmarks._gateway_reader import Counts, Reader
from benchmarks._gateway_wrk import CHAT, bodies_for

_OPENED_A_SECOND: Final = 500
"""Streams that begin in a second: so long it is, before what arrives is counted."""


@dataclass(frozen=True, slots=True)
class StreamLoad:
    """What was counted, summed up."""

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


async def read_streams(url: str, request: bytes, *, streams: int, seconds: float) -> Counts:
    """Keep `streams` streams going for so long, after a while for all of them to begin.

    A connection that the gateway closes is opened anew.
    """
    counts, loop = Counts(), asyncio.get_running_loop()
    beginning = streams / _OPENED_A_SECOND
    until = loop.time() + beginning + seconds
    workers = [asyncio.create_task(_keep_reading(url, request, counts, until)) for _ in range(streams)]
    await asyncio.sleep(beginning)
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
