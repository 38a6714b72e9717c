"""What an alarm does to the confidence from which on a version may answer: it may raise it, and never lowers it.

Judged are the comparisons since the change, of the classes that keep their trust, by the rule of
`monitoring.statistics.selective`. Those of which the student was unsure were sampled more often, so the agreement among
them is no better than that of what clients receive. Where there are too few to show anything, nothing is done, nor
where the teacher would have to answer more than it may.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import structlog

from core.ledger import Alarm, Ledger, Threshold, Trust
from core.settings import WatchSettings
from monitoring.evidence import Evidence
from monitoring.rules import Rules
from monitoring.statistics.selective import lowest_confidence
from monitoring.version import VersionState
from monitoring.withdrawal import Withdrawal

_ACTOR: Final = "monitor"

_log = structlog.get_logger("tutelage.monitor")


@dataclass(frozen=True, slots=True)
class Raising:
    """A threshold that is to be raised."""

    before: Threshold
    present: float
    """The confidence from which on the version answers now; `raised`: from then on."""
    raised: float


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
        target = self._rules.target_agreement
        if target is None or self._watch.withdraw == "none":
            return None
        before = self._ledger.thresholds.get(self._task, watched.version) or Threshold(
            self._task, watched.version, self._rules.min_confidence, target, "trust.min_confidence", now
        )
        if before.confidence is None:
            return None
        present = max(before.confidence, self._rules.min_confidence)
        kept = {label for label, row in trust.items() if row.trusted} - set(withdrawal.withdrawn)
        raised = raised_confidence(
            watched, evidence, kept, self._rules, present, withdrawal.teacher_share, self._watch.max_fallback_share
        )
        return None if raised is None else Raising(before, present, raised)

    def raise_to(self, raising: Raising, alarm: Alarm) -> None:
        """Write it down, for gateways to read."""
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
    """The confidence from which on a version that answers from `present` on should; None where it stays as it is.

    `trusted`: classes that it still may answer; `teacher_share`: of exchanges, expected with these; `most`: the largest
    share that the teacher may answer.
    """
    first = evidence.change.number if evidence.change is not None else 0
    given = [
        step for step in watched.trail if step.number >= first and step.label in trusted and step.confidence >= present
    ]
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
    moved = sum(step.weight for step in given if step.confidence < chosen) / sum(step.weight for step in given)
    return chosen if teacher_share + moved * (1 - teacher_share) <= most else None


def told_of(raising: Raising | None, before: Mapping[str, Any]) -> dict[str, Any]:
    """What the alarm's evidence says, with what is needed to undo it; `before` is its evidence so far."""
    known = before.get("threshold")
    if raising is None:
        return {} if known is None else {"threshold": known}
    return {"threshold": {"from": raising.present if known is None else known["from"], "to": raising.raised}}


def restored(threshold: Threshold | None, alarm: Alarm, at: float) -> Threshold | None:
    """A version's threshold, once what `alarm` raised is given back; None where that is not what stands now."""
    known = alarm.evidence.get("threshold")
    if threshold is None or known is None or threshold.confidence != known["to"]:
        return None
    evidence = f"given back when alarm {alarm.id} was resolved ({threshold.evidence})"
    return replace(threshold, confidence=known["from"], evidence=evidence, at=at)
