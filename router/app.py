"""The gateway's one app object, built from settings."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from functools import partial
from typing import Any

import structlog
from starlette.types import Message, Receive, Scope, Send

from core.ids import mint
from core.ledger import Ledger
from core.locallog import LogWriter
from core.privacy import Privacy, needs_key
from core.secret_file import load_secret
from core.settings import PASSTHROUGH, Settings, TaskSettings
from router.admission import KeyKeeper, Limiter
from router.api import build_api
from router.dialects import all_dialects
from router.inference import Inference
from router.metrics import Metrics
from router.recorder import Recorder
from router.sampling import Sampler
from router.snapshot import Snapshot
from router.tasks import Passthrough, Targets, Task
from router.templates import TemplateKeeper
from router.tracing import start_tracing
from router.upstream import FallbackBudget, passthrough_upstream, student_upstream, teacher_upstream

_log = structlog.get_logger(__name__)


class Gateway:
    """An ASGI app: the hot path by itself, every other address through FastAPI."""

    def __init__(self, settings: Settings) -> None:
        """Raise StartupError where the state folder cannot be written, SettingsError where a budget cannot be kept."""
        self.settings = settings.gateway
        self.metrics = Metrics([*settings.tasks, PASSTHROUGH])
        self._log = LogWriter(
            settings.log_folder,
            mint("log"),
            segment_bytes=settings.log.segment_bytes,
            max_bytes=settings.log.max_bytes,
            fsync=settings.log.fsync,
            min_free_bytes=settings.log.min_free_bytes,
        )
        self._ledger = Ledger(settings.ledger_url)
        self._student = student_upstream(settings.student)
        self._challenger = student_upstream(settings.student, "the challenger")  # its failures open no breaker but its
        self.targets = build_targets(settings)
        self._keys = KeyKeeper(self._ledger, settings.keys_file)
        self._limiter = Limiter.from_settings(settings, self._ledger)
        self._snapshot = Snapshot(
            self.targets.tasks,
            self._ledger,
            self._student,
            settings.state / "gateway" / "trust.json",
        )
        self._templates = TemplateKeeper(
            self.targets.tasks, self._ledger, settings.templates_file, self.metrics.unknown_templates
        )
        self._tracing = start_tracing(settings.tracing)
        recorder = Recorder(self._log, self.metrics)
        self.dialects = all_dialects()
        self.inference = Inference(
            settings.gateway,
            self.dialects,
            self.targets,
            self._keys,
            self._limiter,
            self._snapshot,
            self._student,
            self._challenger,
            recorder,
            self.metrics,
            self._tracing,
        )
        self._hot_paths = frozenset(self.dialects)
        self._api = build_api(
            self.inference, self._hot_paths, self.targets, self._keys, self._snapshot, recorder, self.metrics
        )
        self._show_numbers()
        self._background: list[asyncio.Task[None]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection's request, or the lifespan."""
        if scope["type"] == "http":
            if scope["path"] in self._hot_paths and scope["method"] == "POST":
                await self.inference(scope, receive, send)
            else:
                await self._api(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)

    async def start(self) -> None:
        """Look at the world once, then keep looking."""
        seconds = self.settings.refresh_seconds
        await self._snapshot.refresh()
        await self._keys.refresh()
        await self._templates.refresh()
        await self._limiter.sync()
        self._keep(self._snapshot.keep_fresh(seconds))
        self._keep(self._keys.keep_fresh(seconds))
        self._keep(self._templates.keep_fresh(seconds))
        self._keep(self._limiter.run())

    async def stop(self) -> None:
        """Close everything. Requests have been drained by the server before."""
        for task in self._background:
            task.cancel()
        for task in self._background:
            with suppress(asyncio.CancelledError):
                await task
        await self._templates.refresh()  # what was seen since it last did
        await self._limiter.close()
        await self.targets.close()
        await self._student.close()
        await self._challenger.close()
        if self._tracing is not None:
            await self._tracing.close()
        self._log.close()
        self._ledger.close()

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        task.add_done_callback(_tell_of_death)
        self._background.append(task)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message: Message = await receive()
            if message["type"] == "lifespan.startup":
                await self.start()
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return

    def _show_numbers(self) -> None:
        """Give the metrics their sources."""
        metrics, snapshot = self.metrics, self._snapshot
        metrics.in_flight.set_function(lambda: self.inference.in_flight)
        metrics.student_up.set_function(lambda: snapshot.student_up)
        metrics.follow_upstream(self._student, self._student.name)
        metrics.follow_upstream(self._challenger, self._challenger.name)
        metrics.follow_limiter(self._limiter)
        if self.targets.passthrough is not None:
            metrics.follow_upstream(self.targets.passthrough.teacher, self.targets.passthrough.teacher.name)
        for name, task in self.targets.tasks.items():
            metrics.follow_upstream(task.teacher, f"{task.teacher.name} of {name}")
            metrics.trusted_classes.labels(name).set_function(partial(snapshot.trusted_classes, name))
            if task.sampler is not None:
                metrics.follow_scale(name, task.sampler)
            if task.budget is not None:
                metrics.follow_budget(name, task.budget)


def build_targets(settings: Settings) -> Targets:
    """Everything that can be asked for.

    Raises SettingsError where a budget cannot be kept, StartupError where a secret cannot be read or created.
    """
    tasks = settings.tasks
    hashes = any(needs_key(task.privacy) for task in tasks.values())
    privacy_key = load_secret(settings.privacy_key, "privacy key") if hashes else b""
    sampling_key = load_secret(settings.sampling_key, "sampling key") if any(t.samples for t in tasks.values()) else b""

    workers = settings.gateway.workers

    def build(name: str, task: TaskSettings) -> Task:
        budget = FallbackBudget(name, task.fallback, workers=workers) if task.fallback.limited else None
        room = None if budget is None else lambda: budget.shadow_scale
        sampler = Sampler(name, task, sampling_key, workers=workers, room=room) if task.samples else None
        return Task(name, task, teacher_upstream(task.teacher), Privacy(task.privacy, privacy_key), sampler, budget)

    passthrough = settings.passthrough
    return Targets(
        {name: build(name, task) for name, task in tasks.items()},
        None if passthrough is None else Passthrough(passthrough, passthrough_upstream(passthrough)),
    )


def _tell_of_death(task: asyncio.Task[None]) -> None:
    """A background task never ends by itself; one that does is a defect, and must not do so in silence."""
    if not task.cancelled() and task.exception() is not None:
        _log.error("background_task_died", exc_info=task.exception())
