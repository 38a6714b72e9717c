"""What the settings of a task mean for its statistics: limits and error budgets, worked out once.

The chance of a false alarm about agreement is divided over what could raise one. The detector of student agreement
takes half, and its baseline nothing (`monitoring.statistics.level`). The other half is divided equally over served
agreement, the group of the classes, and a version that stays below the one before; each spends its share in equal parts
on its limit and on its baseline, which may lie too high. The classes share one limit, since they share the comparisons
(see `monitoring.statistics.detector`), and divide the chance that a baseline lies too high.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from core.ledger import Trust
from core.settings import TaskSettings
from monitoring.drift.rules import DriftRules, drift_rules_of
from monitoring.statistics.baseline import chernoff_lower
from monitoring.statistics.detector import threshold

_HOUR: Final = 3600.0
_EXPECTED: Final = 20.0
"""Comparisons that should have come, of which that none did is no chance."""
_STUDENT: Final = 0.5
"""The share of `watch.false_alarms` that is the student detector's; `_PART`: that of each limit and baseline beside."""
_PART: Final = (1 - _STUDENT) / 6


@dataclass(frozen=True, slots=True)
class Rules:
    """Everything that the statistics of a task are told."""

    positions: Mapping[str, int]
    """Of the labels, in their order."""
    label_set: str
    """Its version."""
    lowest_probability: float
    """The smallest sampling probability that is announced."""
    interval_error: float
    horizon: int
    """Comparisons for which the detectors' limits hold their promise."""
    student_limit: float
    """At which the detector of student agreement trips; `limit`: at which the others do."""
    limit: float
    baseline_error: float
    margin: float
    reference_comparisons: int
    recent_comparisons: int
    burst_window: int
    min_agreement: float
    """The bar at which a class is trusted."""
    min_confidence: float
    """At which the student answers a class that is trusted."""
    target_agreement: float | None
    """At which what it answers must agree with the teacher; `target_error`: the chance that it does not."""
    target_error: float
    class_fdr: float
    keep_text: bool
    """Whether texts may be kept as examples."""
    drift: DriftRules
    stale_seconds: float | None
    """Without anything fresh for so long, what was known is not known any more; None: it never gets old."""
    stale_exchanges: int | None
    """Answers of the student among which a comparison is to be expected; None: nothing is sampled."""
    golden_seconds: float | None
    """Between two rounds of the golden set; None: there is none."""
    confident_from: tuple[float, ...]
    """Confidences, rising, from which on wrong answers are counted."""
    confident_level: float
    """From which on their rate is watched, and kept by class; `confident_limit`: at which its detector trips."""
    confident_limit: float
    confident_baseline_error: float
    review_queue: int
    """Most disagreements that wait for a person."""
    calibration_margin: float
    """By which confidence may be above agreement; `calibration_limit`: at which the detector of more trips."""
    calibration_limit: float
    feedback_limit: float
    """At which the detector of accuracy on feedback trips."""
    feedback_baseline_error: float

    def class_baselines(self, trust: Mapping[str, Trust]) -> dict[str, float]:
        """For the answers that a student gives of each class, the agreement below which it must not fall.

        A lower bound of what was validated, less the margin, and at least the bar at which a class is trusted.
        """
        error = self.baseline_error / max(len(self.positions), 1)
        return {
            label: max(chernoff_lower(row.agreement, row.examples, error) - self.margin, self.min_agreement)
            for label, row in trust.items()
        }


def rules_of(task: TaskSettings) -> Rules:
    """The rules of a task."""
    watch, part = task.watch, task.watch.false_alarms * _PART
    return Rules(
        positions=task.label_set().index,
        label_set=task.label_set().version,
        lowest_probability=task.shadow.floor or 1.0,
        interval_error=watch.interval_error,
        horizon=watch.horizon,
        student_limit=threshold(watch.horizon, watch.false_alarms * _STUDENT),
        limit=threshold(watch.horizon, part),
        baseline_error=part,
        margin=watch.margin,
        reference_comparisons=watch.reference_comparisons,
        recent_comparisons=watch.recent_comparisons,
        burst_window=watch.burst_window,
        min_agreement=task.trust.min_agreement,
        min_confidence=task.trust.min_confidence,
        target_agreement=task.trust.target_agreement,
        target_error=task.trust.target_error,
        class_fdr=watch.class_fdr,
        keep_text=task.privacy.store == "full",
        drift=drift_rules_of(task),
        stale_seconds=None if watch.stale_hours is None else watch.stale_hours * _HOUR,
        stale_exchanges=math.ceil(_EXPECTED / task.shadow.floor) if task.samples else None,
        golden_seconds=watch.golden_hours * _HOUR if watch.golden_hours is not None and task.asks_golden else None,
        confident_from=tuple(sorted(set(watch.confident_from))),
        confident_level=watch.confident_alarm_from,
        confident_limit=threshold(watch.horizon, watch.confident_false_alarms / 2),
        confident_baseline_error=watch.confident_false_alarms / 2,
        review_queue=watch.review_queue,
        calibration_margin=watch.calibration_margin,
        calibration_limit=threshold(watch.horizon, watch.calibration_false_alarms),
        feedback_limit=threshold(watch.horizon, watch.feedback_false_alarms / 2),
        feedback_baseline_error=watch.feedback_false_alarms / 2,
    )
