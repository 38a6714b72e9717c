"""A monitor that is killed again and again, and what it has counted in the end.

Monitor and archiver are real processes. The archiver trims the streams to a megabyte, so that the monitor, whenever it
comes back, must read on in the archive and then in the streams.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from benchmarks._monitoring_feed import Feed
from benchmarks._monitoring_house import House, open_house
from core.journal import Journal

_TASK: Final = "desk"
_BATCH: Final = 100
_SNAPSHOT_SECONDS: Final = 0.5
_STREAM_BYTES: Final = 2**20
_LONGEST_LIFE: Final = 6.0
_AWAY_SECONDS: Final = 8.0
"""How long there is no monitor in the end: until the archiver has surely trimmed what none of them has read."""
_DEADLINE_SECONDS: Final = 300.0
_ARCHIVED: Final = b'tutelage_monitor_archive_records_total{task="desk"}'


@dataclass(slots=True)
class Survival:
    """What a monitor had counted in the end, beside what there was."""

    kills: int = 0
    exchanges: dict[str, int] = field(default_factory=dict)
    """By who answered; `truth`: what was shipped."""
    truth: dict[str, int] = field(default_factory=dict)
    compared: int = 0
    comparisons: int = 0
    duplicates: int = 0
    from_archive: int = 0
    """Records that the last monitor read in the archive."""

    @property
    def wrong(self) -> int:
        """Exchanges and comparisons that were counted too often or not at all."""
        answerers = self.exchanges.keys() | self.truth.keys()
        off = sum(abs(self.exchanges.get(name, 0) - self.truth.get(name, 0)) for name in answerers)
        return off + abs(self.compared - self.comparisons) + self.duplicates


def survive(folder: Path, classes: int, kills: int, rate: float, seed: int, say: Callable[[str], None]) -> Survival:
    """Kill a monitor so often, at random moments, while about `rate` exchanges a second come."""
    with open_house(folder, {_TASK: classes}, _SNAPSHOT_SECONDS, _STREAM_BYTES) as (house, url), house.archiver():
        return asyncio.run(_survive(house, url, classes, kills, rate, seed, say))


async def _survive(
    house: House, url: str, classes: int, kills: int, rate: float, seed: int, say: Callable[[str], None]
) -> Survival:
    found, moments = Survival(kills), random.Random(seed)
    journal = Journal.connect(url)
    feed = Feed(_TASK, classes, seed)
    try:
        async with _feeding(journal, feed, rate):
            for number in range(kills):
                async with _started(house) as monitor:
                    await asyncio.sleep(moments.uniform(0.0, _LONGEST_LIFE))
                    monitor.kill()
                say(f"killed {number + 1} times, {feed.truth.total:,} exchanges")
            await asyncio.sleep(_AWAY_SECONDS)
        async with _started(house):
            deadline = time.monotonic() + _DEADLINE_SECONDS
            while not house.has_read(feed) and time.monotonic() < deadline:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.1)
            found.from_archive = _number(house.metrics(), _ARCHIVED)
    finally:
        await journal.close()
    state = house.state(_TASK)
    found.exchanges, found.truth = dict(state.exchanges), dict(feed.truth.exchanges)
    found.compared = sum(version.number for version in state.versions.values())
    found.comparisons, found.duplicates = feed.truth.comparisons, state.duplicates
    return found


@contextlib.asynccontextmanager
async def _started(house: House) -> AsyncIterator[psutil.Process]:
    """A monitor at work; whoever feeds goes on while it starts and ends."""
    with contextlib.ExitStack() as stack:
        yield await asyncio.to_thread(stack.enter_context, house.monitor())
        await asyncio.to_thread(stack.close)


@contextlib.asynccontextmanager
async def _feeding(journal: Journal, feed: Feed, rate: float) -> AsyncIterator[None]:
    """Traffic goes on for as long as the block runs."""
    stopped = asyncio.Event()

    async def ship() -> None:
        start = time.monotonic()
        while not stopped.is_set():
            while feed.truth.total < (time.monotonic() - start) * rate:
                await feed.ship(journal, _BATCH)
            await asyncio.sleep(_BATCH / rate)

    task = asyncio.create_task(ship())
    try:
        yield
    finally:
        stopped.set()
        await task


def _number(text: bytes, series: bytes) -> int:
    line = next(line for line in text.splitlines() if line.startswith(series))
    return int(float(line.rpartition(b" ")[2]))
