"""The parts of the journal one by one, each in this process, on records as a busy gateway makes them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks._gateway_peers import free_port
from core.archive import Archive
from core.archiver import Archiver
from core.ids import mint
from core.journal import Journal
from core.ledger import Ledger
from core.locallog import LogWriter
from core.records import Answerer, Exchange, Reason, StudentAnswer, Usage, encode
from core.redis_server import start_redis
from core.shipper import Shipper

TASK: Final = "desk"
_SENTENCES: Final = (
    "where is my parcel it was ordered two weeks ago please refund the amount to my card I am still waiting for "
    "an answer from your team and the tracking number does not work can you help me change the address thank you"
)
_SEGMENT_BYTES: Final = 16 * 1024 * 1024
_LOG_BYTES: Final = 8 * 1024 * 1024 * 1024
_VARIETY: Final = 2000
_DEADLINE_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True)
class Cost:
    """Microseconds a record on the request path. `write_us` is the bare system call with the same bytes."""

    labels: int
    record_bytes: float
    encode_us: float
    append_us: float
    write_us: float


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast many records went through, and the CPU time that this process spent on each, in microseconds."""

    records_per_second: float
    cpu_us: float


def make_exchange(number: int, labels: int) -> Exchange:
    """An exchange that a student answered, with the full distribution over so many labels; always the same one."""
    words, random = _SENTENCES.split(), np.random.default_rng(number)
    distribution = random.dirichlet(np.full(labels, 0.3)).astype("<f2")
    text = " ".join(random.choice(words, 18))
    label = f"label_{distribution.argmax()}"
    identifier = mint()
    return Exchange(
        identifier,
        TASK,
        time.time(),
        Answerer.STUDENT,
        Reason.CHAMPION,
        200,
        model=TASK,
        version="12",
        template="message",
        text=text,
        output=label,
        label=label,
        student=StudentAnswer("12", label, float(distribution.max()), "5f0c2a91d3b7e846", distribution.tobytes()),
        completion_id=f"chatcmpl-{identifier}",
        request_id=identifier,
        user=f"user-{number % 500}",
        key="9x2kq7bd",
        usage=Usage(31, 1),
        total_ms=float(random.gamma(2.0)),
        upstream_ms=float(random.gamma(1.5)),
        shadow_probability=0.05,
    )


def request_path_cost(folder: Path, labels: int, rounds: int) -> Cost:
    """What recording costs a request. The three are timed in turn, `rounds` times; the best of each counts."""
    exchanges = [make_exchange(number, labels) for number in range(_VARIETY)]
    records = [encode(exchange) for exchange in exchanges]
    folder.mkdir(parents=True, exist_ok=True)
    bare = os.open(folder / "bare", os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
    log = LogWriter(folder / "log", mint("log"), _SEGMENT_BYTES, _LOG_BYTES)
    best = [float("inf")] * 3
    try:
        for _ in range(rounds):
            timings = (
                _seconds(encode, exchanges),
                _seconds(log.append, records),
                _seconds(lambda record: os.write(bare, record), records),
            )
            best = [min(pair) for pair in zip(best, timings, strict=True)]
    finally:
        os.close(bare)
        log.close()
    encode_us, append_us, write_us = (seconds / _VARIETY * 1e6 for seconds in best)
    return Cost(labels, sum(map(len, records)) / len(records), encode_us, append_us, write_us)


def ship_and_archive(folder: Path, count: int, labels: int) -> tuple[Pace, Pace]:
    """Ship, and then archive, so many records that are in the log already."""
    records = [encode(make_exchange(number, labels)) for number in range(_VARIETY)]
    log = LogWriter(folder / "log", mint("log"), _SEGMENT_BYTES, _LOG_BYTES)
    for number in range(count):
        log.append(records[number % _VARIETY])
    log.close()
    with start_redis(folder / "redis", free_port()) as server:
        shipped = asyncio.run(_ship(folder, server.url, count))
        archived = asyncio.run(_archive(folder, server.url, count))
    return shipped, archived


async def _ship(folder: Path, url: str, count: int) -> Pace:
    journal = Journal.connect(url)
    shipper = Shipper(folder / "log", journal)
    try:
        async with _running(shipper.run()):
            return await _pace(lambda: shipper.shipped, count)
    finally:
        await journal.close()


async def _archive(folder: Path, url: str, count: int) -> Pace:
    journal, ledger = Journal.connect(url), Ledger(f"sqlite:///{folder}/ledger.db")
    ledger.migrate()
    archiver = Archiver(journal, Archive(str(folder / "archive"), ledger), ledger)
    try:
        async with _running(archiver.run()):
            return await _pace(lambda: archiver.archived, count)
    finally:
        await journal.close()
        ledger.close()


async def _pace(done: Callable[[], int], count: int) -> Pace:
    """Wait until all is done; how fast that was."""
    start, cpu = time.perf_counter(), time.process_time()
    async with asyncio.timeout(_DEADLINE_SECONDS):
        while done() < count:  # noqa: ASYNC110 - a counter has no event
            await asyncio.sleep(0.01)
    return Pace(count / (time.perf_counter() - start), (time.process_time() - cpu) / count * 1e6)


@contextlib.asynccontextmanager
async def _running(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _seconds(work: Callable[[Any], object], items: Sequence[Any]) -> float:
    start = time.perf_counter()
    for item in items:
        work(item)
    return time.perf_counter() - start
