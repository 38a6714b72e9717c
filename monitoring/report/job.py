"""What the monitor tells the process that writes reports for it."""

from __future__ import annotations

from typing import Any

import msgspec

from core.settings import Settings
from monitoring.report.window import Window


class Job(msgspec.Struct):
    """The reports of one window, of every version that answered in it. Times in seconds since the epoch."""

    settings: dict[str, Any]
    """Those that are set, as JSON."""
    task: str
    began: float
    ended: float
    now: float

    @property
    def window(self) -> Window:
        """The window as one."""
        return Window(self.began, self.ended)


def job_of(settings: Settings, task: str, window: Window, now: float) -> Job:
    """A job. What is not set stays so: some defaults are more careful than the same value where it was asked for."""
    return Job(settings.model_dump(mode="json", exclude_unset=True), task, window.began, window.ended, now)
