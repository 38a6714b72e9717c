"""Scoring full windows beside the reading: in a thread, one at a time in a process, for a fifth of the time at most.

Evidently holds the interpreter while it works, so that whoever reads gets less of it: twenty tasks whose windows end
together wait for each other, and a task whose windows fill faster than they are scored skips some.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable
from typing import Final

import structlog

from monitoring.drift.rules import DriftRules
from monitoring.drift.score import score_window
from monitoring.drift.verdict import Verdict
from monitoring.drift.watch import DriftWatch
from monitoring.drift.window import Window

_REST: Final = 4.0  # times as long as the last scoring took

_log = structlog.get_logger("tutelage.monitor")


class DriftScoring:
    """Scores one task's windows."""

    def __init__(self, task: str, rules: DriftRules, turn: asyncio.Lock) -> None:
        """`turn` is shared by all tasks of the process."""
        self._task = task
        self._rules = rules
        self._turn = turn
        self._work: tuple[Window, asyncio.Task[Verdict]] | None = None
        self._not_before = 0.0

    def step(self, drift: DriftWatch) -> bool:
        """Take what came of the last window, and have the next one scored; whether something was taken."""
        taken = self._take(drift)
        free = self._work is None and not self._turn.locked() and time.monotonic() >= self._not_before
        if free and drift.full is not None and drift.reference is not None:
            window, drift.full = drift.full, None
            work = functools.partial(
                score_window,
                drift.reference,
                window,
                drift.season,
                list(drift.unsure),
                self._rules,
                seed=drift.opened,
                called=drift.drifted > 0,
            )
            self._work = window, asyncio.create_task(self._score(work), name=f"drift-{self._task}")
        return taken

    async def stop(self, drift: DriftWatch) -> bool:
        """Wait for the window that is being scored; whether something was taken."""
        if self._work is not None:
            await asyncio.wait([self._work[1]])
        return self._take(drift)

    async def _score(self, work: Callable[[], Verdict]) -> Verdict:
        async with self._turn:
            began = time.monotonic()
            try:
                return await asyncio.to_thread(work)
            finally:
                ended = time.monotonic()
                self._not_before = ended + _REST * (ended - began)

    def _take(self, drift: DriftWatch) -> bool:
        if self._work is None or not self._work[1].done():
            return False
        (window, task), self._work = self._work, None
        if task.cancelled():
            return False
        error = task.exception()
        if error is not None:
            _log.error("drift_not_scored", task=self._task, error=repr(error))
        else:
            drift.note(task.result(), window, self._rules)
        return True
