"""The gateway's parent process: its workers, the shipper, and the sum of everybody's metrics.

The shipper runs here, so that it outlives any worker and ships what a killed one left.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from pathlib import Path
from typing import Final

import structlog

from core.backoff import Backoff
from core.journal import Journal
from core.settings import Settings
from core.shipper import open_shipper
from router.crew import Crew
from router.metrics import MetricsHub
from router.metrics.parent import ParentMetrics

_log = structlog.get_logger(__name__)

_KILL_SECONDS: Final = 5.0
"""A worker that has not ended so long after `gateway.drain_seconds` is killed."""


class Parent:
    """Keeps the workers and the shipper going until told to stop."""

    def __init__(self, config: Path, settings: Settings, listener: socket.socket) -> None:
        self._settings = settings
        self._shipper = open_shipper(settings, settings.log_folder, Journal.connect(settings.redis.address))
        metrics = ParentMetrics(settings.log_folder, self._shipper)
        self._crew = Crew(config, listener, settings.gateway.workers, MetricsHub(metrics.report))
        metrics.follow_workers(lambda: self._crew.pids, lambda: self._crew.restarts)

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT. Workers go first, then what they logged is shipped as far as Redis allows."""
        stopping = asyncio.Event()
        for signum in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(signum, stopping.set)
        patience = self._settings.gateway.drain_seconds
        async with asyncio.TaskGroup() as group:
            shipping = group.create_task(self._ship())
            group.create_task(self._crew.work())
            await stopping.wait()
            await self._crew.stop(patience + _KILL_SECONDS)
            await self._shipper.drain(patience)
            shipping.cancel()

    async def _ship(self) -> None:
        backoff = Backoff()
        while True:
            try:
                await self._shipper.run()
            except Exception:  # noqa: BLE001  # clients are served whatever becomes of our books; the log keeps them
                _log.exception("shipper_failed", effect="it begins again; nothing is lost as long as the log has room")
                await backoff.pause()
            else:
                return
