"""The monitor's own reports: one for each window that has ended and each version that answered in it.

Each is written by a process of its own. Whatever becomes of that, reading goes on: a failure is logged and counted, and
tried again an hour later.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import msgspec
import structlog

from core.errors import StateError
from core.journal import is_cancelled
from core.launch import launched
from core.settings import Settings
from monitoring.report import store
from monitoring.report.job import Job, job_of
from monitoring.report.window import Window, finished

_LOOK_SECONDS: Final = 60.0
_SETTLE_SECONDS: Final = 1800.0
"""After a window has ended, before it is reported: comparisons come late, and are archived later."""
_RETRY_SECONDS: Final = 3600.0
_PRUNE_SECONDS: Final = 3600.0
_MISSED: Final = 7  # windows that are caught up on
_LONGEST: Final = 1800.0

_log = structlog.get_logger("tutelage.monitor")

Run = Callable[[Job], Awaitable[list[str]]]


class Watching(Protocol):
    """What a keeper needs of a reader."""

    task: str
    leading: bool
    """Whether this process watches the task: only then it writes."""
    reports: dict[str, int]
    """Counted up: `written`, `failed`."""


class ReportKeeper:
    """Has reports written when they are due, one at a time, and removes old ones. For one event loop."""

    def __init__(
        self,
        settings: Settings,
        readers: Sequence[Watching],
        clock: Callable[[], float] = time.time,
        run: Run | None = None,
    ) -> None:
        """`run` does a job, by default in a process of its own."""
        self._settings = settings
        self._readers = readers
        self._clock = clock
        self._do = run or run_in_process
        self._not_before: dict[str, float] = {}
        self._prune_at: dict[str, float] = {}

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while not is_cancelled():
            for reader in self._readers:
                if reader.leading:
                    await self.look(reader)
            await asyncio.sleep(_LOOK_SECONDS)

    async def look(self, reader: Watching) -> None:
        """Have the task's next report written, where one is due, and remove those that are too old."""
        watch, now = self._settings.task(reader.task).watch, self._clock()
        try:
            if watch.report_hours is not None and now >= self._not_before.get(reader.task, 0.0):
                await self._write(reader, watch.report_hours, now)
            if now >= self._prune_at.get(reader.task, 0.0):
                self._prune_at[reader.task] = now + _PRUNE_SECONDS
                await asyncio.to_thread(store.prune, self._settings, reader.task, watch.report_days, now)
        except (OSError, StateError, TimeoutError) as error:
            self._not_before[reader.task] = now + _RETRY_SECONDS
            reader.reports["failed"] += 1
            _log.error("report_failed", task=reader.task, error=str(error) or type(error).__name__)

    async def _write(self, reader: Watching, hours: float, now: float) -> None:
        until = await asyncio.to_thread(store.written_until, self._settings, reader.task)
        for window in due(hours, until, now):
            paths = await self._do(job_of(self._settings, reader.task, window, now))
            await asyncio.to_thread(store.note_written_until, self._settings, reader.task, window.ended)
            reader.reports["written"] += len(paths)
            if paths:
                _log.info("report_written", task=reader.task, window=window.name, pages=paths)


def due(hours: float, until: float | None, now: float) -> list[Window]:
    """The windows that have ended and are not reported yet, of the last few; the oldest first.

    `until`: the end of the last one that was; None: none was, so that only the newest is due.
    """
    newest = finished(hours, now - _SETTLE_SECONDS)
    length = newest.ended - newest.began
    count = 1 if until is None else min(round((newest.ended - until) / length), _MISSED)
    return [Window(newest.began - back * length, newest.ended - back * length) for back in range(count - 1, -1, -1)]


async def run_in_process(job: Job) -> list[str]:
    """Do a job in a process that ends with this one.

    Raises StateError with the last line that it has said where it failed, TimeoutError where it takes too long.
    """
    process = await asyncio.create_subprocess_exec(
        *launched((sys.executable, "-m", "monitoring.report.child")),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(_LONGEST):
            out, said = await process.communicate(msgspec.json.encode(job))
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        last = said.decode(errors="replace").strip().splitlines()[-1:]
        raise StateError(" ".join(last) or f"the process ended with code {process.returncode}")
    paths: list[str] = msgspec.json.decode(out, type=list[str])
    return paths
