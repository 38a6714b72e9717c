"""Log, shipper, journal, archiver, archive: every record that was accepted is archived exactly once, whatever dies."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from blockbuster import BlockBuster, blockbuster_ctx

from core import locallog
from core.archive import Archive
from core.archiver import Archiver
from core.ids import mint
from core.journal import Journal
from core.ledger import ArchiveFile, ArchiveIndex, Ledger, Move
from core.locallog import LogWriter
from core.records import Answerer, Exchange, Feedback, Kind, Reason, encode
from core.redis_server import RedisServer, start_redis
from core.shipper import Shipper

NOON = 1_750_000_000.0


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop() -> Iterator[BlockBuster]:
    with blockbuster_ctx(["core.shipper", "core.archiver", "core.journal"]) as blockbuster:
        for name in ("os.stat", "os.listdir", "io.BufferedReader.read", "io.TextIOWrapper.read"):
            # redis-py looks its own version up with each connection.
            blockbuster.functions[name].can_block_in("redis/utils.py", "get_lib_version")
        yield blockbuster


class House:
    """A machine: its folders, its Redis, and whatever runs on it."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.log_folder = folder / "log"
        self.url = url
        self.ledgers: list[Ledger] = []

    def writer(self, segment_bytes: int = 20_000) -> LogWriter:
        return LogWriter(self.log_folder, mint("log"), segment_bytes, 1 << 30)

    def archive(self) -> tuple[Archive, Ledger]:
        ledger = Ledger(f"sqlite:///{self.folder}/ledger.db")
        ledger.migrate()
        self.ledgers.append(ledger)
        return Archive(str(self.folder / "archive"), ledger), ledger

    @contextlib.asynccontextmanager
    async def shipping(self, journal: Journal | None = None) -> AsyncIterator[Shipper]:
        journal = journal or Journal.connect(self.url)
        shipper = Shipper(self.log_folder, journal, batch_bytes=8000, poll_seconds=0.01)
        async with running(shipper, journal):
            yield shipper

    @contextlib.asynccontextmanager
    async def archiving(self, **options: Any) -> AsyncIterator[Archiver]:
        journal = Journal.connect(self.url)
        archive, ledger = await asyncio.to_thread(self.archive)
        archiver = Archiver(journal, archive, ledger, **({"flush_seconds": 0.05} | options))
        async with running(archiver, journal):
            yield archiver

    def archived(self) -> list[str]:
        """Ids of all archived exchanges, as the files have them; the ledger must count as many."""
        archive, _ = self.archive()
        ids = archive.query("SELECT id FROM records", "desk").column("id").to_pylist()
        assert archive.count("desk") == len(ids)
        return sorted(ids)

    def close(self) -> None:
        for ledger in self.ledgers:
            ledger.close()


@contextlib.asynccontextmanager
async def running(worker: Shipper | Archiver, journal: Journal) -> AsyncIterator[None]:
    task = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await journal.close()


@pytest.fixture
def house(tmp_path, redis_url):
    house = House(tmp_path, redis_url)
    yield house
    house.close()


def exchange(text: str = "") -> Exchange:
    return Exchange(mint(), "desk", NOON, Answerer.STUDENT, Reason.CHAMPION, 200, text=text)


async def append(log: LogWriter, count: int) -> list[str]:
    """Append as a gateway does: a little, then others get their turn."""
    ids = []
    for number in range(count):
        record = exchange(f"message {number}")
        assert log.append(encode(record))
        ids.append(record.id)
        if number % 20 == 0:
            await asyncio.sleep(0.001)
    return ids


async def until_everything_is_gone(house: House) -> None:
    async with asyncio.timeout(20):
        while await asyncio.to_thread(locallog.list_sources, house.log_folder):  # noqa: ASYNC110 - files have no event
            await asyncio.sleep(0.05)


_WORKER = """
import os, sys
from pathlib import Path
from core.ids import mint
from core.locallog import LogWriter
from core.records import Answerer, Exchange, Reason, encode
log = LogWriter(Path(sys.argv[1]), mint("log"), 20_000, 1 << 30)
while True:
    record = Exchange(mint(), "desk", 1_750_000_000.0, Answerer.STUDENT, Reason.CHAMPION, 200, text="x" * 200)
    if log.append(encode(record)):
        os.write(1, record.id.encode() + b"\\n")
"""


async def test_a_killed_writers_accepted_records_are_archived_once(house):
    accepted: list[str] = []

    def life_and_death(seconds: float) -> None:
        command = [sys.executable, "-c", _WORKER, str(house.log_folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as worker:
            assert worker.stdout is not None
            first = worker.stdout.readline()
            killer = subprocess.Popen(["sh", "-c", f"sleep {seconds}; kill -9 {worker.pid}"])
            rest = worker.stdout.read()
            killer.wait()
        assert worker.returncode == -signal.SIGKILL
        accepted.extend(line for line in (first + rest).decode().split("\n") if len(line) == len(mint()))

    async with house.shipping() as shipper, house.archiving() as archiver:
        await asyncio.gather(*(asyncio.to_thread(life_and_death, seconds) for seconds in (0.11, 0.23, 0.37)))
        assert await shipper.drain(30)
        assert await archiver.drain(30)
        await until_everything_is_gone(house)
    assert len(accepted) > 100
    found = await asyncio.to_thread(house.archived)
    assert len(set(found)) == len(found)
    assert set(accepted) <= set(found)
    assert len(set(found) - set(accepted)) <= 3, "at most the one that each was about to report"


@contextlib.contextmanager
def own_redis(folder: Path, port: int) -> Iterator[RedisServer]:
    server = start_redis(folder, port)
    try:
        yield server
    finally:
        server.stop()


@pytest.mark.parametrize("restart_archiver", [False, True])
async def test_a_redis_that_restarts_empty_costs_nothing(tmp_path, free_port, restart_archiver):
    folder = tmp_path / "redis"
    house = House(tmp_path, f"redis://127.0.0.1:{free_port}/0")
    log = house.writer()
    ids = []
    with contextlib.ExitStack() as stack:
        server = await asyncio.to_thread(stack.enter_context, own_redis(folder, free_port))
        async with house.shipping() as shipper, contextlib.AsyncExitStack() as archiving:
            archiver = await archiving.enter_async_context(house.archiving(flush_seconds=0.3))
            for _ in range(3):
                ids += await append(log, 300)
                # Some is archived by now, some in the journal only, some in neither.
                await asyncio.sleep(random.uniform(0, 0.5))
                os.kill(server.pid, signal.SIGKILL)
                await asyncio.to_thread(server.stop)
                ids += await append(log, 50)
                await asyncio.to_thread(shutil.rmtree, folder)
                if restart_archiver:
                    await archiving.aclose()
                server = await asyncio.to_thread(stack.enter_context, own_redis(folder, free_port))
                if restart_archiver:
                    archiver = await archiving.enter_async_context(house.archiving(flush_seconds=0.3))
            ids += await append(log, 100)
            log.close()
            assert await shipper.drain(30)
            assert await archiver.drain(30)
            await until_everything_is_gone(house)
        found = await asyncio.to_thread(house.archived)
    house.close()
    assert found == sorted(ids)


class CrashError(Exception):
    """The process dies here."""


class CrashingJournal(Journal):
    """A journal whose user dies at the n-th call: before it has had its effect, or after."""

    def __init__(self, redis: Any) -> None:
        super().__init__(redis)
        self.calls_left = 10**9
        self.after = False

    async def _crash_at(self, call: Any) -> Any:
        self.calls_left -= 1
        if self.calls_left == 0 and not self.after:
            call.close()
            raise CrashError
        answer = await call
        if self.calls_left == 0:
            raise CrashError
        return answer

    async def ship(self, *args: Any) -> Any:
        return await self._crash_at(super().ship(*args))

    async def shipped(self, *args: Any) -> Any:
        return await self._crash_at(super().shipped(*args))

    async def archived(self, *args: Any) -> Any:
        return await self._crash_at(super().archived(*args))

    async def forget(self, *args: Any) -> Any:
        return await self._crash_at(super().forget(*args))

    async def read_many(self, *args: Any) -> Any:
        return await self._crash_at(super().read_many(*args))

    async def publish_archived(self, *args: Any, **options: Any) -> Any:
        return await self._crash_at(super().publish_archived(*args, **options))

    async def trim(self, *args: Any) -> Any:
        return await self._crash_at(super().trim(*args))


@pytest.mark.parametrize("after", [False, True])
async def test_a_shipper_that_dies_at_any_step_loses_and_doubles_nothing(house, after):
    ids = []
    async with house.archiving(flush_seconds=0.02) as archiver:
        for step in range(1, 25):
            log = house.writer(segment_bytes=3000)
            ids += await append(log, 40)
            log.close()
            journal = CrashingJournal.connect(house.url)
            journal.calls_left, journal.after = step, after
            shipper = Shipper(house.log_folder, journal, batch_bytes=2500, poll_seconds=0.001)
            shipper._next_removal = 0.0
            with contextlib.suppress(CrashError, TimeoutError):
                await asyncio.wait_for(shipper.run(), 0.3)
            await journal.close()
        async with house.shipping() as shipper:
            assert await shipper.drain(20)
            assert await archiver.drain(20)
            await until_everything_is_gone(house)
    assert await asyncio.to_thread(house.archived) == sorted(ids)


@pytest.mark.parametrize("after", [False, True])
async def test_an_archiver_that_dies_at_any_step_loses_and_doubles_nothing(house, after):
    ids = []
    log = house.writer(segment_bytes=3000)
    async with house.shipping() as shipper:
        for step in range(1, 15):
            ids += await append(log, 40)
            assert await shipper.drain(10)
            journal = CrashingJournal.connect(house.url)
            journal.calls_left, journal.after = step, after
            archive, ledger = await asyncio.to_thread(house.archive)
            archiver = Archiver(journal, archive, ledger, flush_seconds=0.001, flush_rows=30)
            with contextlib.suppress(CrashError, TimeoutError):
                await asyncio.wait_for(archiver.run(), 0.5)
            await journal.close()
        log.close()
        async with house.archiving() as archiver:
            assert await shipper.drain(20)
            assert await archiver.drain(20)
            await until_everything_is_gone(house)
    assert await asyncio.to_thread(house.archived) == sorted(ids)


async def test_a_crash_between_files_and_ledger_loses_and_doubles_nothing(house, monkeypatch):
    log = house.writer()
    ids = await append(log, 100)
    crashes = iter([True, True, False])

    real = ArchiveIndex.commit

    def commit(index: ArchiveIndex, files: Sequence[ArchiveFile], moves: Sequence[Move], *held: int) -> bool:
        before = next(crashes, None)
        if before is False:
            real(index, files, moves, *held)
        if before is not None:
            raise OSError("the ledger went away, before or after it had committed")
        done: bool = real(index, files, moves, *held)
        return done

    monkeypatch.setattr(ArchiveIndex, "commit", commit)
    async with house.shipping() as shipper, house.archiving(flush_seconds=0.02) as archiver:
        assert await shipper.drain(20)
        assert await archiver.drain(20)
        ids += await append(log, 100)
        log.close()
        assert await shipper.drain(20)
        assert await archiver.drain(20)
    assert await asyncio.to_thread(house.archived) == sorted(ids)


async def test_two_archivers_and_two_shippers_do_no_harm(house):
    logs = [house.writer() for _ in range(3)]
    ids = []
    async with (
        house.shipping() as one,
        house.shipping() as two,
        house.archiving(flush_seconds=0.01) as first,
        house.archiving(flush_seconds=0.015) as second,
    ):
        for _ in range(6):
            for log in logs:
                ids += await append(log, 60)
            await asyncio.sleep(0.02)
        for log in logs:
            log.close()
        for worker in (one, two, first, second):
            assert await worker.drain(30)
        await until_everything_is_gone(house)
        assert first.archived + second.archived == len(ids)
        assert first.conflicts + second.conflicts > 0, "they never met: the test shows nothing"
    assert await asyncio.to_thread(house.archived) == sorted(ids)


async def test_nothing_is_deleted_before_it_is_archived_and_everything_after(house):
    log = house.writer(segment_bytes=5000)
    ids = await append(log, 200)
    log.append(encode(Feedback("fb_1", "desk", ids[0], "refund", NOON)))
    whole = [segment.start for segment in locallog.list_segments(house.log_folder, log.source)]
    async with house.shipping() as shipper:
        assert await shipper.drain(10)
        await asyncio.sleep(1.5)
        assert [segment.start for segment in locallog.list_segments(house.log_folder, log.source)] == whole
        async with house.archiving() as archiver:
            assert await archiver.drain(10)
            async with asyncio.timeout(10):
                while len(locallog.list_segments(house.log_folder, log.source)) > 1:  # noqa: ASYNC110 - nor have these
                    await asyncio.sleep(0.05)
            log.close()
            await until_everything_is_gone(house)
    assert list(house.log_folder.iterdir()) == []
    assert await asyncio.to_thread(house.archived) == sorted(ids)
    assert house.archive()[0].count("desk", Kind.FEEDBACK) == 1
