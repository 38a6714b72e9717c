"""When a task's next run may start by itself: the trainer asks, and so does whoever tells people what happens next."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Final

from core.ledger import Runs
from core.settings import TaskSettings

_DAY: Final = 86_400.0
_MINUTE: Final = 60.0


@dataclass(frozen=True, slots=True)
class Start:
    """The earliest moment, in seconds since the epoch, and what it waits for; infinite: never by itself."""

    at: float
    why: str = ""


def earliest_start(runs: Runs, task: str, settings: TaskSettings, now: float) -> Start:
    """When the task's next run may start, were there a reason for it. Runs that are under way are not looked at."""
    limits = settings.retrain
    if not limits.automatic:
        return Start(inf, "retrain.automatic is off")
    if not settings.retrains:
        return Start(inf, "the texts of exchanges are not kept (privacy.store), so there is nothing to learn from")
    if not limits.runs_per_day:
        return Start(inf, "retrain.runs_per_day is 0")
    newest = runs.newest(task, limit=limits.runs_per_day)
    start = Start(now)
    if newest:
        rested = newest[0].updated + limits.cooldown_minutes * _MINUTE
        start = max(start, Start(rested, "retrain.cooldown_minutes since the last run"), key=lambda one: one.at)
    if len(newest) == limits.runs_per_day:
        allowed = newest[-1].started + _DAY
        start = max(start, Start(allowed, "retrain.runs_per_day are used up"), key=lambda one: one.at)
    return start
