"""The noise ceiling: how often the teacher agrees with itself when it is asked the same again.

A student is judged by the teacher's answers, and these are noise in part. Let the teacher give label k to input x with
probability p_k(x), independently each time. It agrees with itself with probability c = E[sum_k p_k(x)²]; a student that
always gives the likeliest label agrees with it with probability E[max_k p_k(x)], which may be more than c. But

    max_k p_k <= sqrt(sum_k p_k²),   hence   E[max_k p_k] <= sqrt(c)   (Jensen),

so no student, however good, is expected to agree more often than `sqrt(c)`. Both numbers are given.
"""

from __future__ import annotations

import math

import msgspec

from core.records import Comparison, Outcome
from monitoring.rules import Rules
from monitoring.statistics.weights import Scale, WeightedMean


class ClassRepeats(msgspec.Struct):
    """Second questions about inputs for which the student gave one class."""

    asked: int = 0
    agreed: int = 0


class NoiseCeiling(msgspec.Struct):
    """The teacher's agreement with itself, of all inputs. O(1) a comparison, bounded by the number of classes."""

    scale: Scale | None = None
    """Of the weights; None before the first."""
    mean: WeightedMean = msgspec.field(default_factory=WeightedMean)
    classes: dict[str, ClassRepeats] = {}
    """By the student's label, as agreement is: counts, for a person; far too few for a class's interval."""
    outcomes: dict[str, int] = {}
    """What came of asking again. What brought no label is missing, as it is from agreement."""

    def add(self, comparison: Comparison, rules: Rules) -> None:
        """Take a comparison for which the teacher was asked again; it must not be taken twice, nor from a burst."""
        if comparison.again is None:
            return
        self.outcomes[comparison.again.value] = self.outcomes.get(comparison.again.value, 0) + 1
        probability = comparison.probability * comparison.again_probability
        if comparison.again is not Outcome.ANSWERED or probability <= 0:
            return
        if self.scale is None:
            self.scale = Scale(rules.lowest_probability * comparison.again_probability)
        agrees = comparison.teacher_again == comparison.teacher_label
        self.mean.add(agrees, self.scale.weigh(probability))
        label = comparison.student.label if comparison.student.label in rules.positions else "other"
        counts = self.classes.get(label)
        if counts is None:
            counts = self.classes[label] = ClassRepeats()
        counts.asked += 1
        counts.agreed += agrees


def attainable(ceiling: float) -> float:
    """The agreement that no student is expected to exceed where the teacher agrees with itself so often."""
    return math.sqrt(min(max(ceiling, 0.0), 1.0))
