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
from core.lease import Leases
from core.ledger import GoldenExample, Ledger
from core.locallog import LogWriter
from core.prices import Price, price_of
from core.role import run_role
from core.role_pages import role_pages
from core.secret_file import load_secret
from core.settings import Settings, TaskSettings, load_settings
from core.shipper import open_shipper
from router.shadow.challengers import Challengers
from router.shadow.comparer import Comparer
from router.shadow.golden import LEASE_SECONDS, GoldenKeeper
from router.shadow.golden_texts import TrafficTexts, read_golden
from router.shadow.memory import Memory
from router.shadow.metrics import ShadowMetrics
from router.shadow.pace import Pace
from router.shadow.repeats import Repeats
from router.shadow.sweep import Sweep
from router.shadow.worker import CLAIM_SECONDS, ShadowWorker

_log = structlog.get_logger(__name__)

_DRAIN_SECONDS: Final = 10.0
_UNKNOWN: Final = Price(0.0, 0.0, "unknown")


class Shadow:
    """Everything of the role but its process."""

    def __init__(self, settings: Settings, claim_seconds: float = CLAIM_SECONDS) -> None:
        self.metrics = ShadowMetrics()
        self.sweeps: list[Sweep] = []
        """One a task, once started."""
        self._settings = settings
        self._claim_seconds = claim_seconds
        self._journal = Journal.connect(settings.redis.address)
        self._shipper = open_shipper(settings, settings.shadow_log_folder, self._journal)
        self._challengers = Challengers(settings.student)
        self._ledger = Ledger(settings.ledger_url)
        self._leases = Leases(settings.redis.address, LEASE_SECONDS)
        self._templates = TaskTemplates(settings.tasks, self._ledger, settings.templates_file)
        self._clients: list[httpx.AsyncClient] = []
        self._workers: list[ShadowWorker] = []
        self._working: list[asyncio.Task[None]] = []
        self._shipping: asyncio.Task[None] | None = None
        self._writer: LogWriter | None = None

    async def start(self) -> None:
        """Begin to work.

        Raises StartupError where the state folder cannot be written, TeacherError where a teacher's key is missing,
        DataError where a golden set's file cannot be used.
        """
        settings = self._settings
        secret = load_secret(settings.sampling_key, "sampling key")
        self._writer = LogWriter(
            settings.shadow_log_folder,
            mint("log"),
            segment_bytes=settings.log.segment_bytes,
            max_bytes=settings.log.max_bytes,
            fsync=settings.log.fsync,
            min_free_bytes=settings.log.min_free_bytes,
        )
        consumer = mint("shadow")
        keepers: list[GoldenKeeper] = []
        for name, task in settings.tasks.items():
            teacher = self._teacher(task)
            comparer = self._comparer(name, task, self._writer, teacher, secret)
            worker = ShadowWorker(name, self._journal, consumer, comparer, self.metrics, self._claim_seconds)
            self._workers.append(worker)
            sweep = Sweep(name, settings.archive_url, self._ledger, self._leases, comparer, self.metrics)
            self.sweeps.append(sweep)
            if teacher is not None and task.asks_golden:
                keepers.append(await self._keeper(name, task, teacher, consumer))
        await self._challengers.refresh()
        await asyncio.to_thread(self._templates.refresh)
        self._shipping = asyncio.create_task(self._shipper.run())
        fresh = [self._challengers.keep_fresh(), self._templates.keep_fresh(settings.gateway.refresh_seconds)]
        work = [*fresh, *(worker.run() for worker in self._workers), *(keeper.run() for keeper in keepers)]
        work += [sweep.run() for sweep in self.sweeps]
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
        await self._leases.close()
        await self._journal.close()
        self._ledger.close()

    def _teacher(self, task: TaskSettings) -> _Teacher | None:
        """What a task's teacher is asked through; None where the settings do not permit to ask it anything."""
        if not task.samples and not task.asks_golden:
            return None
        client = open_client(task.teacher)
        self._clients.append(client)
        return _Teacher(task, client)

    def _comparer(
        self, name: str, task: TaskSettings, writer: LogWriter, teacher: _Teacher | None, secret: bytes
    ) -> Comparer:
        # The day's dollars are counted in the comparisons, those of all workers.
        asker = teacher.asker(Budget(None)) if teacher is not None and task.samples else None
        price = price_of(task.teacher)
        comparer = Comparer(
            name,
            task,
            asker,
            price,
            self._challengers,
            Memory(name, self._journal),
            writer,
            self.metrics,
            partial(self._templates.by_version, name),
            repeats=Repeats(task.shadow.repeat, secret) if task.shadow.repeat else None,
        )
        self.metrics.follow(name, lambda: comparer.under_way, lambda: teacher.pace.pauses if teacher else 0)
        return comparer

    async def _keeper(self, name: str, task: TaskSettings, teacher: _Teacher, owner: str) -> GoldenKeeper:
        size, paths = task.watch.golden_size, task.watch.golden
        texts: list[GoldenExample] | TrafficTexts = TrafficTexts(name, self._journal, size)
        if paths:
            texts = await asyncio.to_thread(read_golden, paths, task.label_set(), size)
        return GoldenKeeper(name, task, teacher.asker, texts, self._ledger, self._leases, self.metrics, owner)


class _Teacher:
    """One task's teacher: whoever asks it gives way together."""

    def __init__(self, task: TaskSettings, client: httpx.AsyncClient) -> None:
        self.pace = Pace()
        self._task = task
        self._client = client
        self._price = price_of(task.teacher) or _UNKNOWN

    def asker(self, budget: Budget) -> Asker:
        """One that asks within `budget`."""
        task = self._task
        return Asker(
            self._client,
            task.label_set(),
            task.teacher,
            self._price,
            budget,
            attempts=task.shadow.attempts,
            gate=self.pace,
        )


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
