"""What the steps of a run work with."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from core.archive import Archive
from core.ledger import Ledger, Run
from core.registry import Registry
from core.settings import Settings, TaskSettings
from training.progress import Report, silent


@dataclass(frozen=True, slots=True)
class RunContext:
    """The stores, the settings and the clock."""

    settings: Settings
    ledger: Ledger
    registry: Registry
    archive: Archive
    clock: Callable[[], float] = time.time
    """Seconds since the epoch."""
    report: Report = silent
    actor: str = "trainer"

    def task(self, run: Run) -> TaskSettings:
        """Settings of the run's task."""
        return self.settings.task(run.task)

    def folder(self, run: Run) -> Path:
        """Where the run keeps its data, its candidate and its report."""
        return run_folder(self.settings, run.id)


def run_folder(settings: Settings, run: str) -> Path:
    """Where a run keeps its files."""
    return settings.state / "runs" / run
