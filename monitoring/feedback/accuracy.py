"""What feedback says of one version: the student's answers, the teacher's, and what the student would have said.

Three kinds of answers are kept apart, since they are of different exchanges: those that the student gave; those that
the teacher gave beside this version, which are the harder ones; and `withheld`, what the student had said of these same
exchanges. Teacher against withheld is what falling back is worth.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from core.records import Answerer
from monitoring.feedback.answered import Answered
from monitoring.feedback.exposure import Exposure
from monitoring.rules import Rules
from monitoring.statistics.baseline import Baseline
from monitoring.statistics.classification import Classification
from monitoring.statistics.detector import Detector, Mark
from monitoring.statistics.weights import WeightedMean

OTHER: Final = "other"


class Whose(StrEnum):
    """Whose answers."""

    STUDENT = "student"
    TEACHER = "teacher"
    WITHHELD = "withheld"
    """The student's, where the teacher answered in its stead."""


class Tally(msgspec.Struct):
    """Right answers among some."""

    after: int = 0
    """Number of the answer before the first of them."""
    right: int = 0
    total: int = 0


class Answers(msgspec.Struct):
    """The answers of one of them beside the truth: all of the version's, and the recent ones.

    The recent ones are, as those of `monitoring.agreement`, the older of the last two tallies of `size` each.
    """

    counts: Classification = msgspec.field(default_factory=Classification)
    recent: Tally = msgspec.field(default_factory=Tally)
    next: Tally = msgspec.field(default_factory=Tally)
    number: int = 0
    """Answers that were ever counted."""

    def add(self, truth: str, given: str, size: int) -> int:
        """Count one; returns its number."""
        self.counts.add(truth, given)
        self.number += 1
        for tally in (self.recent, self.next):
            tally.right += truth == given
            tally.total += 1
        if self.next.total >= size:
            self.recent, self.next = self.next, Tally(after=self.number)
        return self.number

    def correct(self, number: int, before: str, truth: str, given: str) -> None:
        """Put `truth` in the place of `before` in the answer of that number."""
        self.counts.take_back(before, given)
        self.counts.add(truth, given)
        for tally in (self.recent, self.next):
            if number > tally.after:
                tally.right += (truth == given) - (before == given)


class Judged(msgspec.Struct, array_like=True):
    """An exchange whose truth is known: what it takes to put another truth in its place."""

    version: str
    at: float
    """When the feedback was given."""
    truth: str
    label: str
    student_label: str
    by_student: bool
    number: int
    """Of the answer that was given; `withheld`: of the student's, where it was not."""
    withheld: int = 0


class VersionFeedback(msgspec.Struct):
    """All that feedback says of one version; of exchanges without a student, under an empty name."""

    student: Answers = msgspec.field(default_factory=Answers)
    teacher: Answers = msgspec.field(default_factory=Answers)
    withheld: Answers = msgspec.field(default_factory=Answers)
    exposure: Exposure = msgspec.field(default_factory=Exposure)
    given: dict[str, int] = {}
    """All answers that the student gave, with or without feedback, by label."""
    whole: WeightedMean = msgspec.field(default_factory=WeightedMean)
    """Of the answers that the student gave; by class in `classes`. For the baseline: corrections do not reach it."""
    classes: dict[str, WeightedMean] = {}
    baseline: Baseline = msgspec.field(default_factory=Baseline)
    detector: Detector = msgspec.field(default_factory=Detector)

    def of(self, whose: Whose) -> Answers:
        """The answers of one."""
        return {Whose.STUDENT: self.student, Whose.TEACHER: self.teacher, Whose.WITHHELD: self.withheld}[whose]

    def add(self, answered: Answered, truth: str, at: float, rules: Rules) -> Judged:
        """Count the truth about an exchange for the first time. `at`: when the feedback was given."""
        by_student = answered.answered_by is Answerer.STUDENT
        label, student_label = known(answered.label, rules), known(answered.student_label, rules)
        size = rules.recent_comparisons
        number = (self.student if by_student else self.teacher).add(truth, label, size)
        withheld = 0
        if by_student:
            self._watch(answered, label, truth == label, number, rules)
        elif answered.version:
            withheld = self.withheld.add(truth, student_label, size)
        confidence = answered.confidence if answered.version else None
        self.exposure.judged(answered.at, answered.answered_by, label, confidence)
        return Judged(answered.version, at, truth, label, student_label, by_student, number, withheld)

    def correct(self, judged: Judged, truth: str) -> None:
        """Put another truth in its place. The detector keeps what it has seen: it cannot go back."""
        answers = self.student if judged.by_student else self.teacher
        answers.correct(judged.number, judged.truth, truth, judged.label)
        if judged.withheld:
            self.withheld.correct(judged.withheld, judged.truth, truth, judged.student_label)

    def _watch(self, answered: Answered, label: str, right: bool, number: int, rules: Rules) -> None:
        """The detector before all that is learnt from the answer."""
        self.detector.observe(right, 1.0, self.baseline.of(label), Mark(number, answered.exchange, answered.at))
        if self.whole.weight > rules.reference_comparisons:
            return
        self.whole.add(right, 1.0)
        self.classes.setdefault(label, WeightedMean()).add(right, 1.0)
        self.baseline.learn(self.whole, self.classes, rules.feedback_baseline_error, rules.margin)


def known(label: str, rules: Rules) -> str:
    """A label of the settings, or `other`."""
    return label if label in rules.positions else OTHER
