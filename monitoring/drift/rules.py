"""What the settings of a task mean for its drift."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from core.settings import TaskSettings

_MINUTE: Final = 60.0
_HOUR: Final = 3600.0
_WEEK: Final = 7 * 24 * _HOUR

SHARES: Final[Mapping[str, float]] = {"labels": 0.25, "inputs": 0.5, "templates": 0.125, "new_class": 0.125}
"""How the chance of a false alarm is divided over the parts of a window's test."""


@dataclass(frozen=True, slots=True)
class DriftRules:
    """Everything that drift is told. Times in seconds."""

    window: int
    """Exchanges in a window; 0: nothing is compared."""
    span: float
    """A window spans at least so long; `reference_span`: the reference."""
    reference_span: float
    positions: Mapping[str, int]
    """Of the task's labels, in their order; `label_set` is its version."""
    label_set: str
    min_confidence: float
    """Below it the student is unsure."""
    keep_text: bool
    false_alarms: float
    """Chance of a false alarm within `horizon` windows."""
    horizon: int
    season_span: float
    """Of calm traffic before the label mix is compared with the same hours of the week."""

    def level(self, part: str) -> float:
        """The p-value at or below which a part of one window's test is called drift."""
        return self.false_alarms * SHARES[part] / self.horizon


def drift_rules_of(task: TaskSettings) -> DriftRules:
    """The rules of a task."""
    watch, labels = task.watch, task.label_set()
    return DriftRules(
        window=watch.drift_window,
        span=watch.drift_window_minutes * _MINUTE,
        reference_span=watch.drift_reference_hours * _HOUR,
        positions=labels.index,
        label_set=labels.version,
        min_confidence=task.trust.min_confidence,
        keep_text=task.privacy.store == "full",
        false_alarms=watch.drift_false_alarms,
        horizon=watch.drift_horizon,
        season_span=watch.drift_season_weeks * _WEEK,
    )
