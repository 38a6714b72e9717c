"""A reader at work on a real Redis, and what ships records to it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import msgspec

from core.archive import Archive
from core.archiver import Archiver
from core.journal import Journal, stream_name
from core.lease import Leases
from core.ledger import Ledger
from core.records import Comparison, Exchange, Feedback, Kind, encode
from monitoring.reader import TaskReader
from monitoring.state import TaskState
from tests.support.monitoring_world import task_settings

STREAMS: dict[type, str] = {
    Exchange: stream_name("desk", Kind.EXCHANGE),
    Comparison: stream_name("desk", Kind.COMPARISON),
    Feedback: stream_name("desk", Kind.FEEDBACK),
}


class Source:
    """Ships without a log, in batches; keeps what it shipped, to ship it again."""

    def __init__(self, journal: Journal, name: str = "log_a") -> None:
        self.journal, self.name, self.offset = journal, name, 0
        self.shipped: list[tuple[int | None, int, dict[str, list[tuple[int, bytes]]]]] = []

    async def ship(self, *pairs) -> None:
        batches: dict[str, list[tuple[int, bytes]]] = {}
        before = self.offset or None
        for pair in pairs:
            for record in pair:
                if record is not None:
                    self.offset += 10
                    batches.setdefault(STREAMS[type(record)], []).append((self.offset, encode(record)))
        self.shipped.append((before, self.offset, batches))
        assert await self.journal.ship(self.name, before, self.offset, batches) == self.offset

    async def ship_again(self) -> None:
        for before, end, batches in self.shipped:
            assert await self.journal.ship(self.name, before, end, batches) == end


async def archive_all(journal: Journal, ledger: Ledger, archive_url: str) -> None:
    """Archive what the journal holds."""
    archiver = Archiver(journal, Archive(archive_url, ledger), ledger, flush_seconds=0.05)
    task = asyncio.create_task(archiver.run())
    try:
        assert await archiver.drain(20)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@contextlib.asynccontextmanager
async def reading(
    redis_url: str, ledger: Ledger, *, kill: bool = False, archive_url: str | None = None, **watch
) -> AsyncIterator[TaskReader]:
    """A reader at work; with `kill` it ends without storing anything, as by a kill."""
    journal, leases = Journal.connect(redis_url), Leases(redis_url, 0.5)
    reader = TaskReader(
        "desk",
        task_settings(**watch),
        journal,
        leases,
        ledger,
        snapshot_seconds=60.0 if kill else 0.1,
        archive_url=archive_url,
    )
    task = asyncio.create_task(reader.run())
    try:
        yield reader
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        if not kill:
            await reader.stop()
        await leases.close()
        await journal.close()


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - a counter has no event
            await asyncio.sleep(0.01)


def stored(ledger: Ledger) -> TaskState | None:
    found = ledger.snapshots.load("desk", "monitor")
    return None if found is None else msgspec.msgpack.decode(found.state, type=TaskState)


def counted(state: TaskState | None) -> tuple[int, int]:
    if state is None or state.watched is None:
        return 0, 0
    return state.watched.number, sum(state.exchanges.values())
