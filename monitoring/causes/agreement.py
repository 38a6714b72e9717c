"""Agreement that fell below its baseline: of the student over all inputs, and of the answers of a class."""

from __future__ import annotations

from abc import abstractmethod

from core.ledger import Alarm
from core.settings import WatchSettings
from monitoring.causes.cause import Cause, Finding, Look, Loss
from monitoring.evidence import Evidence, describe, gather, summary
from monitoring.signals import CLASSES, STUDENT, change_of, has_recovered, restart, tripped, tripped_classes
from monitoring.statistics.weights import WeightedMean
from monitoring.telling import interval, moment, percent


class _Agreement(Cause):
    """What the two have in common: a detector that trips, and evidence that grows while the alarm is open."""

    def __init__(self, watch: WatchSettings) -> None:
        self._watch = watch

    def has_tripped(self, look: Look) -> bool:
        """Whether there is reason for an alarm."""
        return tripped(look.watched, self.name, look.rules)

    def find(self, look: Look) -> Finding:
        """The evidence, as it is now."""
        watched, known = look.watched, look.known
        surely = tripped_classes(watched, look.rules) if self.name == CLASSES else frozenset()
        change = known.change if known is not None else change_of(watched, self.name, surely)
        evidence = gather(watched, change, look.rules, known.looks + 1 if known is not None else 1, look.confidence)
        return Finding(
            describe(watched, evidence, look.rules, self._baseline(look)),
            what=self._what(look, evidence),
            sure=promise(self._watch),
            labels=(*sorted(surely), *evidence.named),
            change=evidence.change,
            loss=Loss(evidence, surely),
        )

    def restart(self, look: Look) -> None:
        """Begin anew after the alarm was closed."""
        restart(look.watched, self.name)

    @abstractmethod
    def _baseline(self, look: Look) -> float:
        """The agreement that was fallen below."""

    @abstractmethod
    def _what(self, look: Look, evidence: Evidence) -> str:
        """What happened."""


class StudentAgreement(_Agreement):
    """Student agreement over all inputs fell below what was learnt from the version's own first comparisons."""

    name = STUDENT

    def recovered(self, look: Look) -> str:
        """Why the alarm may be closed; empty: it may not."""
        if look.known is None or not has_recovered(look.watched, self.name, look.known):
            return ""
        return "agreement is back above its baseline"

    def _baseline(self, look: Look) -> float:
        return look.watched.baseline.overall

    def _what(self, look: Look, evidence: Evidence) -> str:
        baseline = percent(self._baseline(look))
        return f"Student agreement fell below its baseline of {baseline}: {since(evidence, look)}."


class ClassAgreement(_Agreement):
    """The answers of a class fell below what its trust rests on.

    It never recovers by itself: what a class lost, only a candidate or a person can give back, since its answers are
    given no longer.
    """

    name = CLASSES

    def is_due(self, look: Look) -> bool:
        """Whether the evidence is to be brought up to date."""
        return super().is_due(look) or self.has_tripped(look)

    def written(self, look: Look, alarm: Alarm, finding: Finding) -> None:
        """Begin anew with the classes that tripped, so that each is said once."""
        del alarm
        for label in finding.loss.surely if finding.loss is not None else ():
            look.watched.class_detectors[label].restart()

    def _baseline(self, look: Look) -> float:
        return look.rules.min_agreement

    def _what(self, look: Look, evidence: Evidence) -> str:
        return (
            "Answers of single classes fell below what their trust rests on. Of all answers that are sure enough to be "
            f"given, {since(evidence, look, evidence.sure)}."
        )


def since(evidence: Evidence, look: Look, mean: WeightedMean | None = None) -> str:
    """How often student and teacher have agreed since the change."""
    told = interval(summary(evidence.student if mean is None else mean, look.rules.interval_error))
    when = "since recording began" if evidence.change is None else f"since {moment(evidence.change.at)}"
    return f"{told} {when}"


def promise(watch: WatchSettings) -> str:
    """What is promised about false alarms."""
    return (
        "without a change, all that watches the agreement of this version (student, served, classes, the level before) "
        f"raises an alarm within {watch.horizon:,} comparisons with a chance of {percent(watch.false_alarms)} at most. "
        "The intervals since the change are descriptive, since where it lies was estimated from the same comparisons."
    )
