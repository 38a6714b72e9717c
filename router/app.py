"""The gateway's one app object, built from settings."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import structlog
from starlette.types import Message, Receive, Scope, Send

from core.ids import mint
from core.ledger import Ledger
from core.locallog import LogWriter
from core.settings import Settings
from router.api import build_api
from router.chat import HOT_PATH, ChatCompletions
from router.metrics import Metrics
from router.pool import Pool
from router.recorder import Recorder
from router.sampling import Sampler, load_secret
from router.snapshot import Snapshot
from router.tasks import Tasks

_log = structlog.get_logger(__name__)


class Gateway:
    """An ASGI app: the hot path by itself, every other address through FastAPI."""

    def __init__(self, settings: Settings) -> None:
        """Raise StartupError where the state folder cannot be written, SettingsError where a budget cannot be kept."""
        self._settings = settings.gateway
        self.metrics = Metrics()
        self.tasks = Tasks(settings)
        self._log = LogWriter(
            settings.log_folder,
            mint("log"),
            segment_bytes=settings.log.segment_bytes,
            max_bytes=settings.log.max_bytes,
            fsync=settings.log.fsync,
        )
        self._student = Pool(settings.student.base_url, settings.student.timeouts)
        self._ledger = Ledger(settings.ledger_url)
        self._snapshot = Snapshot(
            {name: task.teacher for name, task in self.tasks.by_name.items()},
            self._ledger,
            self._student,
            settings.state / "gateway" / "trust.json",
        )
        recorder = Recorder(self._log, self.metrics)
        samplers = _samplers(settings)
        for name, sampler in samplers.items():
            self.metrics.follow_scale(name, sampler)
        self._chat = ChatCompletions(
            settings.gateway, self.tasks, self._snapshot, self._student, recorder, self.metrics, samplers
        )
        self._api = build_api(self.tasks, self._snapshot, recorder, self.metrics, time.time())
        self.metrics.in_flight.set_function(lambda: self._chat.in_flight)
        self.metrics.log_bytes.set_function(lambda: _size_of(settings))
        self._refresher: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection's request, or the lifespan."""
        if scope["type"] == "http":
            if scope["path"] == HOT_PATH and scope["method"] == "POST":
                await self._chat(scope, receive, send)
            else:
                await self._api(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)

    async def start(self) -> None:
        """Look at the world once, then keep looking."""
        await self._snapshot.refresh()
        self._refresher = asyncio.create_task(self._snapshot.keep_fresh(self._settings.refresh_seconds))

    async def stop(self) -> None:
        """Close everything. Requests have been drained by the server before."""
        if self._refresher is not None:
            self._refresher.cancel()
            with suppress(asyncio.CancelledError):
                await self._refresher
        await self.tasks.close()
        self._student.close()
        self._log.close()
        self._ledger.close()

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


def _samplers(settings: Settings) -> dict[str, Sampler]:
    """One for each task whose settings, privacy and teacher permit it."""
    sampled = {name: task for name, task in settings.tasks.items() if task.samples}
    secret = load_secret(settings.sampling_key) if sampled else b""
    return {name: Sampler(name, task, secret) for name, task in sampled.items()}


def _size_of(settings: Settings) -> int:
    """Bytes of the local log on disk."""
    total = 0
    for file in settings.log_folder.glob("*/*.log"):
        with suppress(FileNotFoundError):  # the shipper deletes what is archived
            total += file.stat().st_size
    return total
