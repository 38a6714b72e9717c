"""The shadow role: a worker for each task, and the shipper of what they write, in one process."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from functools import partial
from typing import Final

import httpx
import structlog
from redis.exceptions import RedisError

from core.accepted_templates import TaskTemplates
from core.asking import Asker, open_client
from core.budget import Budget
from core.ids import mint
from core.journal import Journal
from core.ledger import Ledger
from core.locallog import LogWriter
from core.prices import Price, price_of
from core.role import run_role
from core.role_pages import role_pages
from core.settings import Settings, TaskSettings, load_settings
from core.shipper import open_shipper
from router.shadow.challengers import Challengers
from router.shadow.comparer import Comparer
from router.shadow.memory import Memory
from router.shadow.metrics import ShadowMetrics
from router.shadow.pace import Pace
from router.shadow.worker import CLAIM_SECONDS, ShadowWorker

_log = structlog.get_logger(__name__)

_DRAIN_SECONDS: Final = 10.0
_UNKNOWN: Final = Price(0.0, 0.0, "unknown")


class Shadow:
    """Everything of the role but its process."""

    def __init__(self, settings: Settings, claim_seconds: float = CLAIM_SECONDS) -> None:
        self.metrics = ShadowMetrics()
        self._settings = settings
        self._claim_seconds = claim_seconds
        self._journal = Journal.connect(settings.redis.address)
        self._shipper = open_shipper(settings, settings.shadow_log_folder, self._journal)
        self._challengers = Challengers(settings.student)
        self._ledger = Ledger(settings.ledger_url)
        self._templates = TaskTemplates(settings.tasks, self._ledger, settings.templates_file)
        self._clients: list[httpx.AsyncClient] = []
        self._workers: list[ShadowWorker] = []
        self._working: list[asyncio.Task[None]] = []
        self._shipping: asyncio.Task[None] | None = None
        self._writer: LogWriter | None = None

    async def start(self) -> None:
        """Begin to work.

        Raises StartupError where the state folder cannot be written, TeacherError where a teacher's key is missing.
        """
        settings = self._settings
        self._writer = LogWriter(
            settings.shadow_log_folder,
            mint("log"),
            segment_bytes=settings.log.segment_bytes,
            max_bytes=settings.log.max_bytes,
            fsync=settings.log.fsync,
            min_free_bytes=settings.log.min_free_bytes,
        )
        consumer = mint("shadow")
        for name, task in settings.tasks.items():
            comparer = self._comparer(name, task, self._writer)
            worker = ShadowWorker(name, self._journal, consumer, comparer, self.metrics, self._claim_seconds)
            self._workers.append(worker)
        await self._challengers.refresh()
        await asyncio.to_thread(self._templates.refresh)
        self._shipping = asyncio.create_task(self._shipper.run())
        fresh = [self._challengers.keep_fresh(), self._templates.keep_fresh(settings.gateway.refresh_seconds)]
        work = [*fresh, *(worker.run() for worker in self._workers)]
        self._working = [asyncio.create_task(each) for each in work]

    async def stop(self, drain_seconds: float = _DRAIN_SECONDS) -> None:
        """End what is under way, ship it, close everything. What could not end is another worker's."""
        if self._working:
            drained = await asyncio.gather(*(worker.drain(drain_seconds) for worker in self._workers))
            if not all(drained):
                _log.warning("shadow_not_drained", hint="what is missing is asked by another worker, or the next start")
            await _cancel(*self._working)
            with contextlib.suppress(RedisError, OSError):  # a name on a list, no more
                await asyncio.gather(*(worker.leave() for worker in self._workers))
        if self._writer is not None:
            self._writer.close()
        if self._shipping is not None:
            await self._shipper.drain(drain_seconds)
            await _cancel(self._shipping)
        for client in self._clients:
            await client.aclose()
        await self._challengers.close()
        await self._journal.close()
        self._ledger.close()

    def _comparer(self, name: str, task: TaskSettings, writer: LogWriter) -> Comparer:
        price = price_of(task.teacher)
        pace = Pace()
        asker: Asker | None = None
        if task.samples:
            client = open_client(task.teacher)
            self._clients.append(client)
            budget = Budget(None)  # the day's dollars are counted in the comparisons, those of all workers
            asker = Asker(
                client,
                task.label_set(),
                task.teacher,
                price or _UNKNOWN,
                budget,
                attempts=task.shadow.attempts,
                gate=pace,
            )
        memory = Memory(name, self._journal)
        templates = partial(self._templates.by_version, name)
        comparer = Comparer(name, task, asker, price, self._challengers, memory, writer, self.metrics, templates)
        self.metrics.follow(name, lambda: comparer.under_way, lambda: pace.pauses)
        return comparer


async def _cancel(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def shadow_until_stopped(settings: Settings) -> None:
    """Work until SIGTERM or SIGINT; what is under way then is ended first."""
    stopped = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stopped.set)
    shadow = Shadow(settings)
    address = settings.shadow
    async with role_pages("shadow", address.host, address.port, shadow.metrics.render) as pages:
        try:
            await shadow.start()
            _log.info("shadow_started", pages=pages, sampled=[n for n, task in settings.tasks.items() if task.samples])
            await stopped.wait()
        finally:
            await shadow.stop()


def main() -> int:
    """Entry point of `python -m router.shadow.serve`."""
    return run_role(
        "shadow",
        "router.shadow.serve",
        __doc__,
        lambda config: asyncio.run(shadow_until_stopped(load_settings(config))),
    )


if __name__ == "__main__":
    raise SystemExit(main())
