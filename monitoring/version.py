"""The statistics of one student's version: one record, moved on by one comparison at a time, and stored as it is."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from core.labels import unpack_floats
from core.ledger import Trust
from core.records import Answerer, Comparison
from monitoring.agreement import Agreement
from monitoring.rules import Rules
from monitoring.statistics.baseline import Baseline
from monitoring.statistics.bursts import Recent
from monitoring.statistics.calibration import Calibration
from monitoring.statistics.detector import Detector, Mark
from monitoring.statistics.weights import Scale, WeightedMean

TRAIL = 2000
"""Comparisons that are kept one by one, to say afterwards which classes lost."""
_EXAMPLES = 40
_EXAMPLE_CHARACTERS = 300


class Step(msgspec.Struct, frozen=True, array_like=True):
    """One comparison, as the trail keeps it."""

    number: int
    label: str
    teacher: str
    agrees: bool
    sure: bool
    """The student was sure enough to answer, were it trusted."""
    weight: float
    confidence: float


class Example(msgspec.Struct, frozen=True):
    """A disagreement, for a person to look at. The text is empty where it may not be kept."""

    number: int
    exchange: str
    student: str
    teacher: str
    confidence: float
    text: str = ""


class VersionState(msgspec.Struct):
    """All statistics of one version. `observe` is O(1), memory is bounded by the number of classes."""

    version: str
    scale: Scale
    clusters: Recent
    student: Agreement
    """Of all inputs that the student read, how often it agrees with the teacher."""
    served: Agreement
    """Of what clients received, how much agrees: what the teacher answered itself does."""
    validated: dict[str, tuple[float, float]]
    """For each label, (examples, agreement) as its trust rested on when the version was first seen."""
    class_baselines: dict[str, float]
    classes: dict[str, WeightedMean] = {}
    """By the student's label. `sure`: of those answers only that are sure enough to be given, were they trusted."""
    sure: dict[str, WeightedMean] = {}
    baseline: Baseline = msgspec.field(default_factory=Baseline)
    detector: Detector = msgspec.field(default_factory=Detector)
    class_detectors: dict[str, Detector] = {}
    calibration: Calibration = msgspec.field(default_factory=Calibration)
    trail: list[Step] = []
    examples: list[Example] = []
    outcomes: dict[str, int] = {}
    number: int = 0
    """Comparisons that count."""
    bursts: int = 0
    """Near-duplicates that did not."""
    drawn: int = 0
    """Exchanges that the student answered and that were drawn; `arrived`: those of them compared, or given up."""
    arrived: int = 0
    last_at: float = 0.0
    """When the newest compared exchange was answered."""

    def observe(self, comparison: Comparison, rules: Rules) -> bool:
        """Take one comparison of this version, which must not be taken twice. False: a near-duplicate, left out."""
        self.outcomes[comparison.outcome.value] = self.outcomes.get(comparison.outcome.value, 0) + 1
        given = comparison.served_by is Answerer.STUDENT
        self.arrived += given
        if comparison.cluster and self.clusters.seen(comparison.cluster):
            self.bursts += 1
            return False
        probability = comparison.probability if comparison.probability > 0 else 1.0
        weight = self.scale.weigh(probability)
        agrees = comparison.agrees
        if agrees is None:
            self._miss(weight, given)
            return True
        self.number += 1
        self.last_at = max(self.last_at, comparison.at)
        label = comparison.student.label if comparison.student.label in rules.positions else "other"
        mark = Mark(self.number, comparison.exchange, comparison.at)
        self._detect(agrees, weight, label, given, mark)
        self.student.add(agrees, weight, self.number)
        self.classes.setdefault(label, WeightedMean()).add(agrees, weight)
        sure = comparison.student.confidence >= rules.min_confidence
        if sure:
            self.sure.setdefault(label, WeightedMean()).add(agrees, weight)
        if given:
            self.served.add(agrees, weight, self.number)
        self._describe(comparison, agrees, weight, label, sure, rules)
        whole = self.student.whole
        if whole.weight <= rules.reference_comparisons:
            self.baseline.learn(whole, self.classes, rules.baseline_error, rules.margin)
        return True

    def served_by_teacher(self) -> None:
        """Count an exchange that the teacher answered: it agrees with itself, and was seen with probability 1."""
        self.served.add(1, self.scale.factor, self.number)

    def served_by_challenger(self, comparison: Comparison) -> None:
        """Count, in served agreement alone, what a challenger gave to a client in this version's stead."""
        if comparison.served_by is not Answerer.STUDENT:
            return  # the teacher answered, which `served_by_teacher` has counted
        weight = min(self.scale.factor / comparison.probability, 1.0) if comparison.probability > 0 else 1.0
        agrees = comparison.agrees
        if agrees is None:
            self._miss(weight, given=True)
        else:
            self.served.add(agrees, weight, self.number)

    def _miss(self, weight: float, given: bool) -> None:
        """A comparison without the teacher's label. Of what was served it counts like the others of late.

        Otherwise the exchanges that the teacher answered would count for more than their share, and served agreement
        would look the better the less is known of it.
        """
        guess = self.agreement_when_sure
        if given and guess is not None:
            self.served.add(guess, weight, self.number)

    @property
    def agreement_when_sure(self) -> float | None:
        """Agreement of the answers that are sure enough to be given; None without any."""
        weight = sum(mean.weight for mean in self.sure.values())
        return sum(mean.agreed for mean in self.sure.values()) / weight if weight else None

    def _detect(self, agrees: bool, weight: float, label: str, given: bool, mark: Mark) -> None:
        """Before anything else is learnt from the comparison: baselines must be fixed before it."""
        self.detector.observe(agrees, weight, self.baseline.of(label), mark)
        if given and label in self.class_baselines:
            detector = self.class_detectors.setdefault(label, Detector())
            detector.observe(agrees, weight, self.class_baselines[label], mark)

    def _describe(
        self, comparison: Comparison, agrees: bool, weight: float, label: str, sure: bool, rules: Rules
    ) -> None:
        student, teacher = comparison.student, comparison.teacher_label or ""
        self.calibration.add(agrees, student.confidence, weight, _of_teacher(comparison, rules))
        self.trail.append(Step(self.number, label, teacher, agrees, sure, weight, student.confidence))
        if len(self.trail) > 2 * TRAIL:
            del self.trail[:-TRAIL]
        if not agrees:
            text = (comparison.text or "")[:_EXAMPLE_CHARACTERS] if rules.keep_text else ""
            self.examples.append(
                Example(self.number, comparison.exchange, student.label, teacher, student.confidence, text)
            )
            if len(self.examples) > 2 * _EXAMPLES:
                del self.examples[:-_EXAMPLES]


def begin(version: str, rules: Rules, trust: Mapping[str, Trust]) -> VersionState:
    """The statistics of a version of which nothing is known but its trust."""
    return VersionState(
        version=version,
        scale=Scale(rules.lowest_probability),
        clusters=Recent(rules.burst_window),
        student=Agreement(rules.recent_comparisons),
        served=Agreement(rules.recent_comparisons),
        validated={label: (float(row.examples), row.agreement) for label, row in trust.items()},
        class_baselines=rules.class_baselines(trust),
    )


def _of_teacher(comparison: Comparison, rules: Rules) -> float | None:
    """The probability that the student gave the teacher's label; None where its distribution was not kept."""
    if comparison.teacher_label is None or not comparison.student.distribution:
        return None
    position = rules.positions.get(comparison.teacher_label)
    if position is None or comparison.student.label_set != rules.label_set:
        return None
    values = unpack_floats(comparison.student.distribution)
    return values[position] if position < len(values) else None
