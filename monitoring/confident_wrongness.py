"""Confident wrongness: of the answers that somebody was sure of, how many are wrong.

A student learns its teacher's mistakes together with its confidence, and what both are sure of nobody asks about again.
So the rate of wrong answers is kept from several confidences on, for the student and for the teacher, by three judges:

- `comparison`: the other one. Where two sure answers differ, at least one is wrong; which one, it cannot say.
- `feedback`: the truth, as clients report it. They choose what they report, and the rate is of what they reported.
- `red_team`: a person's verdicts on answers that were drawn at random (`monitoring.red_team`). The only one that sees
  the mistakes which student and teacher share.

Comparisons count with their weights, so that the rates are of all exchanges, and each has a confidence sequence. Where
the student's rate by comparison, from one confidence on, rises above what was learnt, a detector says so.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import msgspec

from core.records import Comparison
from monitoring.agreement import Agreement
from monitoring.rules import Rules
from monitoring.statistics.baseline import Baseline
from monitoring.statistics.confidence import Interval, confidence_sequence
from monitoring.statistics.detector import Detector, Mark
from monitoring.statistics.weights import WeightedMean

_FLOAT16: Final = struct.Struct("<e")
_WAITING: Final = 64
_TEXT_CHARACTERS: Final = 4000


class Who(StrEnum):
    """Whose answers."""

    STUDENT = "student"
    TEACHER = "teacher"


class Judge(StrEnum):
    """By what they are judged."""

    COMPARISON = "comparison"
    FEEDBACK = "feedback"
    RED_TEAM = "red_team"


@dataclass(frozen=True, slots=True)
class Rates:
    """How many answers were right, from each confidence on, and by class from `Rules.confident_level` on."""

    levels: dict[float, WeightedMean] = field(default_factory=dict)
    classes: dict[str, WeightedMean] = field(default_factory=dict)


class Sure(msgspec.Struct):
    """One's sure answers by one judge. Each is in one band, so that counting one costs little."""

    bands: dict[float, WeightedMean] = {}
    """By the highest of `Rules.confident_from` that the confidence reaches."""
    classes: dict[str, WeightedMean] = {}
    """From `Rules.confident_level` on, by the label that was given."""

    def add(self, right: bool, confidence: float, weight: float, label: str, rules: Rules) -> None:
        """Count an answer. `weight` is in (0, 1], `label` one of the settings or `other`."""
        at = bisect_right(rules.confident_from, confidence) - 1
        if at >= 0:
            _add(self.bands, rules.confident_from[at], right, weight)
        if confidence >= rules.confident_level:
            _add(self.classes, label, right, weight)

    def rates(self, rules: Rules) -> Rates:
        """The same, added up from each confidence on."""
        together: dict[float, WeightedMean] = {}
        for level in rules.confident_from:
            above = [mean for band, mean in self.bands.items() if band >= level]
            if above:
                together[level] = merged(above)
        return Rates(together, self.classes)


class Candidate(msgspec.Struct, frozen=True):
    """A disagreement that a person should look at, on its way to the review queue."""

    exchange: str
    student: str
    teacher: str
    confidence: float
    teacher_confidence: float | None
    cluster: str
    text: str


class ConfidentWrongness(msgspec.Struct):
    """All of this for one version. `observe` is O(1), memory is bounded by the number of classes."""

    level: float = 0.0
    """From which on the rate is watched, as of the last comparison: where the settings say another one, all that is
    built on it begins anew."""
    recent: Agreement = msgspec.field(default_factory=lambda: Agreement(0.0))
    """Of the answers that sure, how many agree with the teacher; `whole` since the version began."""
    student: Sure = msgspec.field(default_factory=Sure)
    """Answers by comparison; `student_feedback` by feedback."""
    teacher: Sure = msgspec.field(default_factory=Sure)
    student_feedback: Sure = msgspec.field(default_factory=Sure)
    teacher_feedback: Sure = msgspec.field(default_factory=Sure)
    baseline: Baseline = msgspec.field(default_factory=Baseline)
    """Of `recent`; `detector`: evidence that it fell."""
    detector: Detector = msgspec.field(default_factory=Detector)
    waiting: list[Candidate] = []
    """Disagreements that the queue has not been offered yet."""

    def observe(
        self, comparison: Comparison, agrees: bool, weight: float, label: str, mark: Mark, rules: Rules
    ) -> None:
        """Take a comparison that has the teacher's label. `label` is the student's, or `other`."""
        if self.level != rules.confident_level:
            self._begin_anew(rules)
        confidence, sure_teacher = comparison.student.confidence, teacher_confidence(comparison, rules)
        self.student.add(agrees, confidence, weight, label, rules)
        if confidence >= self.level:
            self._watch(agrees, weight, label, mark, rules)
        if sure_teacher is not None:
            self.teacher.add(agrees, sure_teacher, weight, comparison.teacher_label or "", rules)
        if not agrees and confidence >= rules.confident_from[0] and rules.review_queue:
            self._keep(comparison, sure_teacher, rules)

    def judged(self, who: Who, right: bool, confidence: float, label: str, rules: Rules) -> None:
        """Take the truth about an answer that a client gave feedback on; at most once for each answer."""
        label = label if label in rules.positions else "other"
        sure = self.student_feedback if who is Who.STUDENT else self.teacher_feedback
        sure.add(right, confidence, 1.0, label, rules)

    def rates(self, who: Who, judge: Judge, rules: Rules) -> Rates:
        """One's answers by one judge; of a red team nothing is known here."""
        known = {
            (Who.STUDENT, Judge.COMPARISON): self.student,
            (Who.TEACHER, Judge.COMPARISON): self.teacher,
            (Who.STUDENT, Judge.FEEDBACK): self.student_feedback,
            (Who.TEACHER, Judge.FEEDBACK): self.teacher_feedback,
        }
        sure = known.get((who, judge))
        return Rates() if sure is None else sure.rates(rules)

    def _begin_anew(self, rules: Rules) -> None:
        self.level, self.recent = rules.confident_level, Agreement(rules.recent_comparisons)
        self.baseline, self.detector = Baseline(), Detector()
        for sure in (self.student, self.teacher, self.student_feedback, self.teacher_feedback):
            sure.classes = {}

    def _watch(self, agrees: bool, weight: float, label: str, mark: Mark, rules: Rules) -> None:
        """The detector before all that is learnt from the comparison."""
        self.detector.observe(agrees, weight, self.baseline.of(label), mark)
        self.recent.add(agrees, weight, mark.number)
        whole = self.recent.whole
        if whole.weight <= rules.reference_comparisons:
            self.baseline.learn(whole, self.student.classes, rules.confident_baseline_error, rules.margin)

    def _keep(self, comparison: Comparison, sure_teacher: float | None, rules: Rules) -> None:
        student = comparison.student
        if comparison.text is None and (rules.keep_text or not student.distribution):
            return  # forgotten meanwhile: nothing is left of it to look at
        self.waiting.append(
            Candidate(
                exchange=comparison.exchange,
                student=student.label,
                teacher=comparison.teacher_label or "",
                confidence=student.confidence,
                teacher_confidence=sure_teacher,
                cluster=comparison.cluster,
                text=(comparison.text or "")[:_TEXT_CHARACTERS] if rules.keep_text else "",
            )
        )
        if len(self.waiting) > 2 * _WAITING:
            self.waiting.sort(key=lambda one: -one.confidence)
            del self.waiting[_WAITING:]


def merged(means: Iterable[WeightedMean]) -> WeightedMean:
    """What one mean would be, had all been added to it."""
    whole = WeightedMean()
    for mean in means:
        whole.count += mean.count
        whole.weight += mean.weight
        whole.agreed += mean.agreed
        whole.squares += mean.squares
        for bucket, (good, bad) in mean.buckets.items():
            before = whole.buckets.get(bucket, (0.0, 0.0))
            whole.buckets[bucket] = (before[0] + good, before[1] + bad)
    return whole


def wrong(right: WeightedMean | None, error: float) -> Interval | None:
    """The rate of wrong answers, with limits that hold at all times; None without answers."""
    found = None if right is None else confidence_sequence(right, error)
    return None if found is None else Interval(1 - found.estimate, 1 - found.upper, 1 - found.lower)


def teacher_confidence(comparison: Comparison, rules: Rules) -> float | None:
    """The probability that the teacher gave its own label; None where it gave no distribution over these labels."""
    return confidence_in(comparison.teacher_distribution, comparison.teacher_label, rules)


def confidence_in(distribution: bytes, label: str | None, rules: Rules) -> float | None:
    """One label's probability in a packed distribution over the task's labels; None where it is not one."""
    position = rules.positions.get(label) if label is not None else None
    if position is None or len(distribution) != _FLOAT16.size * len(rules.positions):
        return None
    (probability,) = _FLOAT16.unpack_from(distribution, _FLOAT16.size * position)
    return float(probability)


def _add(means: dict[Any, WeightedMean], key: float | str, right: bool, weight: float) -> None:
    mean = means.get(key)
    if mean is None:
        mean = means[key] = WeightedMean()
    mean.add(right, weight)
