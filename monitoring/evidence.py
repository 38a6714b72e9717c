"""What an alarm rests on: since when, how much, and which classes lost. Pure; all of it is for the ledger and a person.

Judged class by class are the answers that are sure enough to be given, since trust is about those: what the student is
unsure of goes to the teacher anyway. Whether they were given makes no difference to what they are worth, so a class
that has lost its trust is still judged.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from monitoring.rules import Rules
from monitoring.statistics.baseline import shrunk
from monitoring.statistics.classes import benjamini_hochberg, drop_p, e_benjamini_hochberg
from monitoring.statistics.confidence import confidence_sequence
from monitoring.statistics.detector import Mark
from monitoring.statistics.weights import WeightedMean, less
from monitoring.version import VersionState

_EXAMPLES: Final = 5
_FEWEST: Final = 3  # comparisons of a class before anything is said of it by name
_ALL_LOOKS: Final = math.pi**2 / 6  # sum of 1/look²
_CAUTION: Final = 20.0
"""Comparisons by which agreement since the change is drawn to what it was: where it lies was chosen for being bad."""


@dataclass(frozen=True, slots=True)
class ClassEvidence:
    """What is known of a class's answers since the change, beside what was before."""

    label: str
    before: tuple[float, float]
    """(effective comparisons, agreement), the validation included; `after` the same since the change."""
    after: tuple[float, float]
    p_value: float
    """Against "no lower than before"."""
    e_value: float
    """Against "no lower than its trust rests on", of the class's own detector, over as many as there are classes."""
    named: bool
    """There is evidence that this class lost, with the false discovery rate controlled over all: half of it is spent on
    the p-values, half on the e-values."""
    shrunk: float
    """Agreement since the change, shrunk towards that of all classes: what the rule of trust looks at."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Since when, how much, and who."""

    change: Mark | None
    student: WeightedMean = field(default_factory=WeightedMean)
    """All comparisons since the change; `sure`: those in which the student was sure enough to answer."""
    sure: WeightedMean = field(default_factory=WeightedMean)
    classes: tuple[ClassEvidence, ...] = ()
    rate: float = 0.0
    """The false discovery rate that this look may spend."""

    @property
    def named(self) -> tuple[str, ...]:
        """The classes with evidence of loss, the surest first."""
        return tuple(row.label for row in sorted(self.classes, key=lambda row: row.p_value) if row.named)


def gather(
    state: VersionState, change: Mark | None, rules: Rules, look: int = 1, confidence: float | None = None
) -> Evidence:
    """The evidence since `change`; since the trail begins, where that is later or there is no mark.

    `confidence`: what is sure enough to be given now, where an alarm has raised that. `look` counts how often one has
    looked since this change, from 1: the false discovery rate is divided over the looks as 1/look², so that all of them
    together hold it.
    """
    student, sure = WeightedMean(), WeightedMean()
    since: dict[str, WeightedMean] = {}
    for step in state.trail:
        if change is not None and step.number < change.number:
            continue
        student.add(step.agrees, step.weight)
        if step.sure and (confidence is None or step.confidence >= confidence):
            sure.add(step.agrees, step.weight)
            since.setdefault(step.label, WeightedMean()).add(step.agrees, step.weight)
    rate = rules.class_fdr / (_ALL_LOOKS * look * look)
    return Evidence(change, student, sure, _judge(state, since, _overall(state, sure), rules, rate), rate)


def _judge(
    state: VersionState, since: Mapping[str, WeightedMean], overall: float, rules: Rules, rate: float
) -> tuple[ClassEvidence, ...]:
    """One row for each class that was validated, or has been answered since."""
    labels = sorted({*state.validated, *since})
    after = {label: since.get(label, WeightedMean()) for label in labels}
    before = {label: _before(state, label, after[label]) for label in labels}
    tested = [label for label in labels if after[label].count >= _FEWEST]
    p_values = [drop_p(before[label], (after[label].effective, after[label].estimate or 0.0)) for label in tested]
    named = dict(zip(tested, benjamini_hochberg(p_values, rate / 2), strict=True))
    detectors = state.class_detectors
    e_values = [len(detectors) * one.value / rules.horizon for one in detectors.values()]
    e_by_label = dict(zip(detectors, e_values, strict=True))
    surely = dict(zip(detectors, e_benjamini_hochberg(e_values, rate / 2), strict=True))
    by_label = dict(zip(tested, p_values, strict=True))
    return tuple(
        ClassEvidence(
            label=label,
            before=before[label],
            after=(after[label].effective, after[label].estimate or 0.0),
            p_value=by_label.get(label, 0.5),
            e_value=e_by_label.get(label, 0.0),
            named=named.get(label, False) or surely.get(label, False),
            shrunk=shrunk(after[label], overall),
        )
        for label in labels
    )


def _overall(state: VersionState, sure: WeightedMean) -> float:
    """Agreement since the change of all classes together, with some caution."""
    known = state.agreement_when_sure
    return shrunk(sure, 1.0 if known is None else known, _CAUTION)


def _before(state: VersionState, label: str, after: WeightedMean) -> tuple[float, float]:
    """A class's comparisons before the change, together with those of its validation."""
    watched, agreement = less(state.sure.get(label, WeightedMean()), after)
    validated, validation = state.validated.get(label, (0.0, 0.0))
    together = watched + validated
    return (together, (watched * agreement + validated * validation) / together) if together else (0.0, 0.0)


def describe(state: VersionState, evidence: Evidence, rules: Rules, reference: float) -> dict[str, Any]:
    """The evidence as JSON. `reference`: the baseline that was fallen below.

    Intervals since the change are descriptive: where it lies was estimated from the same comparisons.
    """
    lost = [row for row in evidence.classes if row.named]
    return {
        "baseline": round(reference, 4),
        "since": None if evidence.change is None else evidence.change.at,
        "student_agreement": summary(evidence.student, rules.interval_error),
        "sure_agreement": summary(evidence.sure, rules.interval_error),
        "version_agreement": summary(state.student.whole, rules.interval_error),
        "classes": [_row(row) for row in sorted(lost, key=lambda row: row.p_value)],
        "examples": examples(state, evidence.change),
    }


def examples(state: VersionState, change: Mark | None, least: float = 0.0) -> list[dict[str, Any]]:
    """The most confident disagreements since `change` with a confidence of at least `least`, as JSON."""
    first = change.number if change is not None else 0
    return [
        {
            "exchange": example.exchange,
            "student": example.student,
            "teacher": example.teacher,
            "confidence": round(example.confidence, 4),
            "text": example.text,
        }
        for example in sorted(state.examples, key=lambda example: -example.confidence)
        if example.number >= first and example.confidence >= least
    ][:_EXAMPLES]


def summary(mean: WeightedMean, error: float) -> dict[str, Any]:
    """Estimate, interval and sample sizes as JSON."""
    interval = confidence_sequence(mean, error)
    limits = None if interval is None else [round(interval.lower, 4), round(interval.upper, 4)]
    return {
        "estimate": None if mean.estimate is None else round(mean.estimate, 4),
        "interval": limits,
        "comparisons": mean.count,
        "effective": round(mean.effective, 1),
    }


def _row(row: ClassEvidence) -> dict[str, Any]:
    return {
        "label": row.label,
        "before": round(row.before[1], 4),
        "before_comparisons": round(row.before[0], 1),
        "after": round(row.after[1], 4),
        "after_comparisons": round(row.after[0], 1),
        "p_value": float(f"{row.p_value:.3g}"),
        "e_value": float(f"{row.e_value:.3g}"),
    }
