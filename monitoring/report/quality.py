"""The parts of a report about how often the student agrees: over time, by class, by confidence."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from core.ledger import Trust
from core.records import Outcome
from monitoring.bands import NAMES
from monitoring.confident_wrongness import Judge, Rates, Who, wrong
from monitoring.report.archived import NOBODY, TEACHER, Archived, Rows
from monitoring.report.parts import Band, Bar, CalibrationFacts, ClassLine, Ece, Estimate, Slot, WrongLine
from monitoring.report.replay import Replay, estimate
from monitoring.rules import Rules
from monitoring.statistics.calibration import ece_of, noise_of
from monitoring.statistics.weights import WeightedMean

OTHER = "other"


def slots_of(archived: Archived, replay: Replay, seconds: float, rules: Rules) -> list[Slot]:
    """The window's parts, with the exchanges that somebody answered in each."""
    counts: dict[int, dict[str, int]] = {}
    for row in archived.slots(seconds):
        counts.setdefault(row["slot"], {})[row["answered_by"]] = row["n"]
    slots = []
    for number, part in enumerate(replay.parts):
        answered = {who: n for who, n in counts.get(number, {}).items() if who != NOBODY}
        mean = estimate(part.mean, rules.interval_error)
        total, by_teacher = sum(answered.values()), answered.get(TEACHER, 0)
        slots.append(Slot(part.window.began, part.window.ended, total, by_teacher, mean, part.so_far))
    return slots


def classes_of(
    labels: Rows, replay: Replay, trust: Mapping[str, Trust], alarmed: Collection[str], rules: Rules
) -> list[ClassLine]:
    """One line for each label of the settings, and for `other` where there is any; the worst agreement first."""
    exchanges: dict[str, int] = {}
    confidence: dict[str, float] = {}
    for row in labels:
        label = row["label"] if row["label"] in rules.positions else OTHER
        confidence[label] = confidence.get(label, 0.0) + row["n"] * row["confidence"]
        exchanges[label] = exchanges.get(label, 0) + row["n"]
    total = sum(exchanges.values())
    names = [*rules.positions, *([OTHER] if OTHER in exchanges and OTHER not in rules.positions else [])]
    lines = []
    for label in names:
        count, known = exchanges.get(label, 0), trust.get(label)
        lines.append(
            ClassLine(
                label=label,
                exchanges=count,
                share=count / total if total else 0.0,
                agreement=estimate(replay.state.classes.get(label), rules.interval_error),
                expected=confidence[label] / count if count else None,
                trusted=None if known is None else known.trusted,
                alarmed=label in alarmed,
            )
        )
    return sorted(lines, key=lambda one: (1.0 if one.agreement is None else one.agreement.estimate, -one.exchanges))


def bands_of(replay: Replay, rules: Rules) -> list[Band]:
    """The seven fixed bands of confidence."""
    means = replay.state.bands.means
    return [Band(name, estimate(mean, rules.interval_error)) for name, mean in zip(NAMES, means, strict=True)]


def calibration_of(replay: Replay, labels: Rows) -> CalibrationFacts:
    """The reliability diagram, and scores; all of it descriptive."""
    calibration, distributions = replay.state.calibration, replay.state.distributions
    bars = [
        Bar(low / 10, 0, None, None) if one is None else Bar(low / 10, one.comparisons, one.confidence, one.agreement)
        for low, one in enumerate(calibration.reliability())
    ]
    scores = []
    for name, bins in (("equal width", calibration.reliability()), ("equal mass", calibration.equal_mass())):
        noise = noise_of(bins)
        by_chance = (None, None) if noise is None else (noise.mean, noise.upper)
        scores.append(Ece(name, ece_of(bins), *by_chance))
    total = sum(row["n"] for row in labels)
    return CalibrationFacts(
        bars=bars,
        ece=scores,
        class_ece=distributions.ece,
        class_ece_by_chance=distributions.noise,
        brier=calibration.brier,
        nll=calibration.nll,
        overconfidence=replay.state.overconfidence.excess if calibration.count else None,
        expected=sum(row["n"] * row["confidence"] for row in labels) / total if total else None,
    )


def wrong_of(replay: Replay, rules: Rules) -> list[WrongLine]:
    """Of the sure answers, how many are wrong: from each confidence on, by comparison and by feedback."""
    lines = []
    for judge in (Judge.COMPARISON, Judge.FEEDBACK):
        for who in Who:
            rates = replay.state.wrongness.rates(who, judge, rules)
            lines += [WrongLine(who.value, judge.value, *pair) for pair in _levels(rates, rules)]
    return lines


def wrong_classes_of(replay: Replay, rules: Rules) -> list[WrongLine]:
    """The same of the student's answers, by comparison and by class, from the watched confidence on; worst first."""
    rates = replay.state.wrongness.rates(Who.STUDENT, Judge.COMPARISON, rules)
    lines = [
        WrongLine(Who.STUDENT.value, Judge.COMPARISON.value, rules.confident_level, _wrong(mean, rules), label)
        for label, mean in rates.classes.items()
    ]
    return sorted(lines, key=lambda one: -one.wrong.estimate if one.wrong is not None else 0.0)


def missing_of(replay: Replay) -> dict[str, int]:
    """Comparisons without the teacher's label, by outcome."""
    labelled = (Outcome.ANSWERED.value, Outcome.CASCADED.value)
    return {name: count for name, count in sorted(replay.state.outcomes.items()) if name not in labelled}


def _levels(rates: Rates, rules: Rules) -> list[tuple[float, Estimate | None]]:
    return [(level, _wrong(mean, rules)) for level, mean in rates.levels.items()]


def _wrong(mean: WeightedMean, rules: Rules) -> Estimate | None:
    found = wrong(mean, rules.interval_error)
    return None if found is None else Estimate(found.estimate, found.lower, found.upper, mean.count)
