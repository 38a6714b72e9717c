"""An hour without Redis, in little time: what a gateway logs meanwhile is archived once, whatever Redis remembers."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from core import locallog
from core.archive import Archive
from core.ids import mint
from core.journal import Journal
from core.ledger import Ledger
from core.locallog import LogWriter
from core.records import Answerer, Exchange, Reason, encode
from core.redis_server import start_redis
from core.settings import Settings, load_settings
from core.shipper import Shipper, open_shipper
from tests.support.processes import free_port, module_process, write_settings

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

TASK = "desk"
BEFORE, AWAY, AFTER = 10_000, 200_000, 10_000
STREAM_BYTES = 16 * 1024 * 1024
"""Less than what accumulates: the stream has to be trimmed on the way."""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    teacher = {"base_url": "http://127.0.0.1:9/v1", "model": "big-teacher"}
    document = {
        "state": str(tmp_path / "state"),
        "redis": {"port": free_port(), "stream_bytes": STREAM_BYTES},
        "archive": {"flush_seconds": 0.5},
        "log": {"segment_bytes": 1024 * 1024, "min_free_bytes": 0},
        "tasks": {TASK: {"labels": ["refund", "parcel"], "teacher": teacher}},
    }
    return write_settings(tmp_path / "tutelage.yaml", document)


class Worker:
    """Logs as a gateway's worker does."""

    def __init__(self, settings: Settings) -> None:
        log = settings.log
        self.log = LogWriter(settings.log_folder, mint("log"), log.segment_bytes, log.max_bytes)
        self.ids: list[str] = []

    def record(self, count: int) -> None:
        for number in range(count):
            made = Exchange(mint(), TASK, time.time(), Answerer.STUDENT, Reason.CHAMPION, 200, text=f"{number} " * 8)
            assert self.log.append(encode(made))
            self.ids.append(made.id)


@contextlib.asynccontextmanager
async def shipping(settings: Settings) -> AsyncIterator[Shipper]:
    journal = Journal.connect(settings.redis.address)
    shipper = open_shipper(settings, settings.log_folder, journal)
    task = asyncio.create_task(shipper.run())
    try:
        yield shipper
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await journal.close()


async def until(condition: Callable[[], bool], seconds: float = 90.0) -> None:
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110 - neither files nor other processes have an event
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("forgets", [False, True], ids=["redis remembers", "redis forgets everything"])
async def test_redis_away_for_an_hour(tmp_path: Path, config: Path, forgets: bool):
    settings = load_settings(config)
    settings.state.mkdir()
    folder, port = tmp_path / "redis", settings.redis.port
    worker = Worker(settings)
    with contextlib.ExitStack() as stack:
        server = await asyncio.to_thread(start_redis, folder, port)
        ledger = Ledger(settings.ledger_url)
        stack.callback(ledger.close)
        ledger.migrate()
        archive = Archive(settings.archive_url, ledger)
        stack.enter_context(module_process("tutelage.archiver", "--config", str(config), log=tmp_path / "archiver.log"))
        async with shipping(settings) as shipper:
            await asyncio.to_thread(worker.record, BEFORE)
            await until(lambda: archive.count(TASK) > 0)

            await asyncio.to_thread(server.stop)
            await until(lambda: not shipper.redis_up)
            if forgets:
                await asyncio.to_thread(shutil.rmtree, folder)
            await asyncio.to_thread(worker.record, AWAY)
            assert worker.log.dropped == 0

            server = await asyncio.to_thread(start_redis, folder, port)
            stack.callback(server.stop)
            await asyncio.to_thread(worker.record, AFTER)
            worker.log.close()
            await until(lambda: archive.count(TASK) >= len(worker.ids))
            await until(lambda: locallog.list_sources(settings.log_folder) == [])
        journal = Journal.connect(settings.redis.address)
        sizes = await journal.sizes()
        await journal.close()
        assert max(sizes.values()) <= 2.5 * STREAM_BYTES
        archived = archive.query("SELECT id FROM records", TASK).column("id").to_pylist()
        assert sorted(archived) == sorted(worker.ids)
