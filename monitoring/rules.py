"""What the settings of a task mean for its statistics: limits and error budgets, worked out once.

The chance of a false alarm about agreement is divided over what could raise one: the detector of student agreement and
the group of those of the classes take half each, and each half is spent in equal parts on the detector's limit and on
the baseline, which may lie too high. The classes share one limit, since they share the comparisons (see
`monitoring.statistics.detector`), and divide the chance that a baseline lies too high.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from core.ledger import Trust
from core.settings import TaskSettings
from monitoring.statistics.baseline import chernoff_lower
from monitoring.statistics.detector import threshold


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
    limit: float
    """At which a detector trips."""
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
    drift_window: int

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
    watch, part = task.watch, task.watch.false_alarms / 4
    return Rules(
        positions=task.label_set().index,
        label_set=task.label_set().version,
        lowest_probability=task.shadow.floor or 1.0,
        interval_error=watch.interval_error,
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
        drift_window=watch.drift_window,
    )
