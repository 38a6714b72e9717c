"""The statistics of one student's version: one record, moved on by one comparison at a time, and stored as it is."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from core.ledger import Trust
from core.records import Answerer, Comparison, Exchange
from monitoring.agreement import Agreement
from monitoring.bands import Bands
from monitoring.confident_wrongness import ConfidentWrongness
from monitoring.predicted_agreement import PredictedAgreement
from monitoring.rules import Rules
from monitoring.served import ServedWatch
from monitoring.staleness import Freshness
from monitoring.statistics.baseline import Baseline
from monitoring.statistics.bursts import Recent
from monitoring.statistics.calibration import Calibration
from monitoring.statistics.detector import Detector, Mark, bets_beyond
from monitoring.statistics.distributions import Distributions
from monitoring.statistics.expected import Expected
from monitoring.statistics.level import Level, strata_of
from monitoring.statistics.overconfidence import Overconfidence
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
    predicted: PredictedAgreement = msgspec.field(default_factory=PredictedAgreement)
    """As `student`, with the confidence of every exchange to help: what is reported, while baselines and recovery go by
    `student`."""
    bands: Bands = msgspec.field(default_factory=Bands)
    baseline: Baseline = msgspec.field(default_factory=Baseline)
    """A lower bound of student agreement; `level`: what is expected of it, below which `detector` looks for a drop."""
    level: Level = msgspec.field(default_factory=Level)
    detector: Detector = msgspec.field(default_factory=Detector)
    class_detectors: dict[str, Detector] = {}
    served_watch: ServedWatch = msgspec.field(default_factory=ServedWatch)
    earlier_level: float = 0.0
    """Student agreement that the versions before had, at least; 0 where nothing is known of it, or nobody minds."""
    wrongness: ConfidentWrongness = msgspec.field(default_factory=ConfidentWrongness)
    calibration: Calibration = msgspec.field(default_factory=Calibration)
    """Of the confidence; `distributions`: of the whole distribution, class by class, where it is kept."""
    distributions: Distributions = msgspec.field(default_factory=Distributions)
    overconfidence: Overconfidence = msgspec.field(default_factory=Overconfidence)
    """Whether confidence overstates agreement."""
    expected: Expected = msgspec.field(default_factory=Expected)
    """Agreement as the student's confidence has it, over all exchanges."""
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
    freshness: Freshness = msgspec.field(default_factory=Freshness)
    """Of its agreement."""
    last_at: float = 0.0
    """When the newest compared exchange was answered."""

    def observe(self, comparison: Comparison, rules: Rules) -> bool:
        """Take one comparison of this version, which must not be taken twice. False: a near-duplicate, left out."""
        self.outcomes[comparison.outcome.value] = self.outcomes.get(comparison.outcome.value, 0) + 1
        given = comparison.served_by is Answerer.STUDENT
        self.arrived += given
        self.predicted.compare(comparison)
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
        self._detect(agrees, weight, label, given, mark, rules)
        self.wrongness.observe(comparison, agrees, weight, label, mark, rules)
        self.student.add(agrees, weight, self.number)
        self.classes.setdefault(label, WeightedMean()).add(agrees, weight)
        self.bands.add(comparison.student.confidence, agrees, weight)
        sure = comparison.student.confidence >= rules.min_confidence
        if sure:
            self.sure.setdefault(label, WeightedMean()).add(agrees, weight)
        if given:
            self._serve(label, agrees, weight, mark, rules)
        self.overconfidence.observe(agrees, comparison.student.confidence, weight, rules.calibration_margin, mark)
        self._describe(comparison, agrees, weight, label, sure, rules)
        whole = self.student.whole
        if whole.weight <= rules.reference_comparisons:
            self.baseline.learn(whole, self.classes, rules.baseline_error, rules.margin)
        return True

    def served_by_teacher(self, exchange: Exchange, rules: Rules) -> None:
        """Count an exchange that the teacher answered: it agrees with itself, and was seen with probability 1."""
        label = "" if exchange.student is None else exchange.student.label
        mark = Mark(self.number + 1, exchange.id, exchange.at)
        self._serve(label if label in rules.positions or not label else "other", True, self.scale.factor, mark, rules)

    def served_by_challenger(self, comparison: Comparison, rules: Rules) -> None:
        """Count, in served agreement alone, what a challenger gave to a client in this version's stead."""
        if comparison.served_by is not Answerer.STUDENT:
            return  # the teacher answered, which `served_by_teacher` has counted
        weight = min(self.scale.factor / comparison.probability, 1.0) if comparison.probability > 0 else 1.0
        agrees = comparison.agrees
        if agrees is None:
            self._miss(weight, given=True)
        else:
            label = comparison.student.label if comparison.student.label in rules.positions else "other"
            mark = Mark(self.number + 1, comparison.exchange, comparison.at)
            self._serve(label, agrees, weight, mark, rules)

    def _serve(self, label: str, agrees: bool, weight: float, mark: Mark, rules: Rules) -> None:
        """Count what a client received; the detector before all that is learnt from it."""
        self.served.add(agrees, weight, self.number)
        self.served_watch.observe(label, agrees, weight, mark, self.served.whole, rules)

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

    def _detect(self, agrees: bool, weight: float, label: str, given: bool, mark: Mark, rules: Rules) -> None:
        """Before anything else is learnt from the comparison: baselines must be fixed before it."""
        detector, level = self.detector, self.level
        detector.observe(agrees, weight, level.expected(label), mark)
        if detector.value < rules.student_limit:
            level.held = False
        elif detector.change is not None:
            level.hold(detector.change.number)
        level.learn(label, agrees, weight, self.number)
        if given and label in self.class_baselines:
            detector = self.class_detectors.setdefault(label, Detector())
            detector.observe(agrees, weight, self.class_baselines[label], mark)

    def _describe(
        self, comparison: Comparison, agrees: bool, weight: float, label: str, sure: bool, rules: Rules
    ) -> None:
        student, teacher = comparison.student, comparison.teacher_label or ""
        self.calibration.add(agrees, student.confidence, weight, self._of_teacher(comparison, weight, rules))
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

    def _of_teacher(self, comparison: Comparison, weight: float, rules: Rules) -> float | None:
        """The probability that the student gave the teacher's label, which counts its distribution.

        None where the distribution was not kept, or is over another label set.
        """
        student = comparison.student
        if not student.distribution or student.label_set != rules.label_set:
            return None
        position = rules.positions.get(comparison.teacher_label or "")
        return None if position is None else self.distributions.add(student.distribution, position, weight)


def begin(version: str, rules: Rules, trust: Mapping[str, Trust]) -> VersionState:
    """The statistics of a version of which nothing is known but its trust."""
    validated = {label: (float(row.examples), row.agreement) for label, row in trust.items()}
    return VersionState(
        version=version,
        scale=Scale(rules.lowest_probability),
        clusters=Recent(rules.burst_window),
        student=Agreement(rules.recent_comparisons),
        predicted=PredictedAgreement(rules.recent_comparisons, lowest=[rules.lowest_probability]),
        served=Agreement(rules.recent_comparisons),
        validated=validated,
        class_baselines=rules.class_baselines(trust),
        level=Level(strata_of(rules.positions, validated)),
        detector=Detector(bets_beyond(rules.margin)),
    )
