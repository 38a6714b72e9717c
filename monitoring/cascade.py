"""What an alarm does to the confidence from which on a version may answer: it may raise it, and never lowers it.

Judged are the comparisons since the change, of the classes that keep their trust. With `trust.target_agreement` the
rule is that of `monitoring.statistics.selective`: those of which the student was unsure were sampled more often, so the
agreement among them is no better than that of what clients receive. Without a target, the bands of confidence that have
lost go to the teacher (`monitoring.bands_lost`), with all that is below them. Where there are too few comparisons to
show anything, nothing is done, nor where the teacher would have to answer more than it may.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from math import inf
from typing import Any, Final

import numpy as np
import structlog

from core.ledger import Alarm, Ledger, Threshold, Trust
from core.settings import WatchSettings
from monitoring.bands_lost import Band, confidence_above, lost_bands
from monitoring.evidence import Evidence
from monitoring.rules import Rules
from monitoring.statistics.selective import lowest_confidence
from monitoring.version import Step, VersionState
from monitoring.withdrawal import Withdrawal

_ACTOR: Final = "monitor"

_log = structlog.get_logger("tutelage.monitor")


@dataclass(frozen=True, slots=True)
class Raising:
    """A threshold that is to be raised."""

    before: Threshold
    present: float
    """The confidence from which on the version answers now; `raised`: from then on. None: it stays, since the teacher
    would answer too much."""
    raised: float | None
    teacher_share: float
    """Expected share of exchanges that the teacher answers afterwards."""
    bands: tuple[Band, ...] = ()
    """The bands that lost, where these are the reason."""

    @property
    def kept(self) -> tuple[Band, ...]:
        """Bands that lost, and that the student answers all the same."""
        return tuple(band for band in self.bands if self.raised is None or band.lower >= self.raised)


class Thresholds:
    """One task's thresholds, as alarms change them. Blocks: callers use a thread."""

    def __init__(self, task: str, ledger: Ledger, rules: Rules, watch: WatchSettings) -> None:
        self._task = task
        self._ledger = ledger
        self._rules = rules
        self._watch = watch

    def plan(
        self,
        watched: VersionState,
        evidence: Evidence,
        withdrawal: Withdrawal,
        trust: Mapping[str, Trust],
        now: float,
    ) -> Raising | None:
        """What is to be raised once `withdrawal` is done; None: nothing."""
        if self._watch.withdraw == "none":
            return None
        target = self._rules.target_agreement
        before = self._ledger.thresholds.get(self._task, watched.version) or Threshold(
            self._task,
            watched.version,
            self._rules.min_confidence,
            self._rules.min_agreement if target is None else target,
            "trust.min_confidence",
            now,
        )
        if before.confidence is None:
            return None
        present = self.present(watched.version)
        kept = {label for label, row in trust.items() if row.trusted} - set(withdrawal.withdrawn)
        share, most = withdrawal.teacher_share, self._watch.max_fallback_share
        bands: tuple[Band, ...] = ()
        if target is None:
            bands = tuple(lost_bands(watched, evidence, kept, self._rules, present))
            raised = _above_bands(watched, evidence, kept, bands, present, share, most)
        else:
            raised = raised_confidence(watched, evidence, kept, self._rules, present, share, most)
        if raised is None:
            return Raising(before, present, None, share, bands) if bands else None
        moved = _moved(_given(watched, evidence, kept, present), raised)
        return Raising(before, present, raised, share + moved * (1 - share), bands)

    def present(self, version: str) -> float:
        """The confidence from which on a version answers now; infinite where it answers nothing."""
        threshold = self._ledger.thresholds.get(self._task, version)
        if threshold is None:
            return self._rules.min_confidence
        return inf if threshold.confidence is None else max(threshold.confidence, self._rules.min_confidence)

    def raise_to(self, raising: Raising, alarm: Alarm) -> None:
        """Write it down, for gateways to read; nothing where it stays."""
        if raising.raised is None:
            return
        version, detail = raising.before.version, {"alarm": alarm.id, "from": raising.present, "to": raising.raised}
        evidence = f"raised by alarm {alarm.id} (before: {raising.before.evidence})"
        row = replace(raising.before, confidence=raising.raised, evidence=evidence, at=alarm.updated)
        self._ledger.thresholds.replace(self._task, version, row)
        self._ledger.audit(_ACTOR, "raise_threshold", self._task, version, detail)
        _log.warning("threshold_raised", task=self._task, version=version, **detail)


def raised_confidence(
    watched: VersionState,
    evidence: Evidence,
    trusted: AbstractSet[str],
    rules: Rules,
    present: float,
    teacher_share: float,
    most: float,
) -> float | None:
    """The confidence from which on a version should answer by the target; None where it stays at `present`.

    `trusted`: classes that it still may answer; `teacher_share`: of exchanges, expected with these; `most`: the largest
    share that the teacher may answer.
    """
    given = _given(watched, evidence, trusted, present)
    if rules.target_agreement is None or not given:
        return None
    chosen = lowest_confidence(
        np.array([step.confidence for step in given], dtype=np.float32),
        np.array([step.agrees for step in given], dtype=bool),
        target=rules.target_agreement,
        floor=present,
        error=rules.target_error,
    ).confidence
    if chosen is None or chosen <= present:
        return None
    moved = _moved(given, chosen)
    return chosen if teacher_share + moved * (1 - teacher_share) <= most else None


def _above_bands(
    watched: VersionState,
    evidence: Evidence,
    trusted: AbstractSet[str],
    bands: Sequence[Band],
    present: float,
    teacher_share: float,
    most: float,
) -> float | None:
    """The confidence above as many of the lost bands as the teacher may answer."""
    if not bands or teacher_share >= 1:
        return None
    given = [(step.confidence, step.weight) for step in _given(watched, evidence, trusted, present)]
    return confidence_above(bands, given, (most - teacher_share) / (1 - teacher_share))


def _given(watched: VersionState, evidence: Evidence, trusted: AbstractSet[str], present: float) -> list[Step]:
    """The comparisons since the change of answers that are given: of the classes `trusted`, from `present` on."""
    first = evidence.change.number if evidence.change is not None else 0
    return [
        step for step in watched.trail if step.number >= first and step.label in trusted and step.confidence >= present
    ]


def _moved(given: Sequence[Step], confidence: float) -> float:
    """Share of the answers given that the teacher gives once they must be as sure as `confidence`."""
    return sum(step.weight for step in given if step.confidence < confidence) / sum(step.weight for step in given)


def told_of(raising: Raising | None, before: Mapping[str, Any]) -> dict[str, Any]:
    """What the alarm's evidence says, with what is needed to undo it; `before` is its evidence so far."""
    told = {name: before[name] for name in ("threshold", "bands") if name in before}
    if raising is None:
        return told
    if raising.raised is not None:
        first = told["threshold"]["from"] if "threshold" in told else raising.present
        told["threshold"] = {"from": first, "to": raising.raised}
    if raising.bands:
        told["bands"] = [band.told() for band in raising.bands]
    return told


def restored(threshold: Threshold | None, alarm: Alarm, at: float) -> Threshold | None:
    """A version's threshold, once what `alarm` raised is given back; None where that is not what stands now."""
    known = alarm.evidence.get("threshold")
    if threshold is None or known is None or threshold.confidence != known["to"]:
        return None
    evidence = f"given back when alarm {alarm.id} was resolved ({threshold.evidence})"
    return replace(threshold, confidence=known["from"], evidence=evidence, at=at)
