"""What an alarm does about trust: plans it, so that the alarm can say so, then does it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from core.ledger import Alarm, Ledger, Trust
from core.settings import WatchSettings
from monitoring.cascade import Raising, Thresholds, told_of
from monitoring.causes import Finding, Look
from monitoring.evidence import Evidence
from monitoring.rules import Rules
from monitoring.state import TaskState
from monitoring.withdrawal import Withdrawal, plan, withdrawn_rows

_ACTOR: Final = "monitor"

_log = structlog.get_logger("tutelage.monitor")


@dataclass(frozen=True, slots=True)
class Taken:
    """What is to be taken from a version's trust, with what the alarm's evidence says of it."""

    version: str
    told: dict[str, Any] = field(default_factory=dict)
    insufficient: bool = False
    """Clients get worse answers, and not all of it is put right."""
    evidence: Evidence | None = None
    trust: Mapping[str, Trust] = field(default_factory=dict)
    withdrawal: Withdrawal | None = None
    raising: Raising | None = None


class Measures:
    """One task's measures. Blocks: callers use a thread."""

    def __init__(self, task: str, ledger: Ledger, rules: Rules, watch: WatchSettings) -> None:
        self._task = task
        self._ledger = ledger
        self._rules = rules
        self._watch = watch
        self._thresholds = Thresholds(task, ledger, rules, watch)

    def present_confidence(self, version: str) -> float:
        """The confidence from which on a version answers now."""
        return self._thresholds.present(version)

    def plan(self, look: Look, finding: Finding, before: Mapping[str, Any]) -> Taken:
        """What follows from a finding; `before`: the alarm's evidence so far."""
        version = look.state.champion
        if finding.loss is None:
            return Taken(version)
        evidence = finding.loss.evidence
        trust = self._ledger.trust(self._task, version)
        gone = frozenset(label for label, row in trust.items() if not row.trusted)
        withdrawal = plan(
            evidence,
            finding.loss.surely,
            trusted=frozenset(trust) - gone,
            gone=gone,
            traffic=look.state.traffic,
            rules=self._rules,
            policy=self._watch.withdraw,
            most=self._watch.max_fallback_share,
        )
        raising = self._thresholds.plan(look.watched, evidence, withdrawal, trust, look.now)
        told = _told(withdrawal, raising, trust, before) | told_of(raising, before)
        if raising is not None:
            told["teacher_share"] = round(raising.teacher_share, 4)
        told["costs"] = _costs(look.state, told["teacher_share"], before)
        insufficient = bool(told["budget"]) or self._watch.withdraw == "none"
        return Taken(version, told, insufficient, evidence, trust, withdrawal, raising)

    def take(self, taken: Taken, alarm: Alarm) -> None:
        """Do what was planned, once `alarm` says so."""
        if taken.raising is not None:
            self._thresholds.raise_to(taken.raising, alarm)
        if taken.withdrawal is not None and taken.evidence is not None and taken.withdrawal.withdrawn:
            self._withdraw(taken, taken.withdrawal, taken.evidence, alarm)

    def _withdraw(self, taken: Taken, withdrawal: Withdrawal, evidence: Evidence, alarm: Alarm) -> None:
        rows = withdrawn_rows(dict(taken.trust), withdrawal.withdrawn, evidence, alarm.id, alarm.updated)
        self._ledger.set_trust(self._task, taken.version, rows)
        detail = {
            "alarm": alarm.id,
            "labels": list(withdrawal.withdrawn),
            "kept": list(withdrawal.kept),
            "teacher_share": round(withdrawal.teacher_share, 4),
        }
        self._ledger.audit(_ACTOR, "withdraw_trust", self._task, taken.version, detail)
        _log.warning("trust_withdrawn", task=self._task, version=taken.version, **detail)


def _told(
    withdrawal: Withdrawal, raising: Raising | None, trust: Mapping[str, Trust], before: Mapping[str, Any]
) -> dict[str, Any]:
    """What was done, with what is needed to undo it."""
    undo = dict(before.get("withdrawn", {}))
    for label in withdrawal.withdrawn:
        row = trust[label]
        undo[label] = {"agreement": row.agreement, "examples": row.examples, "evidence": row.evidence}
    kept = []
    if withdrawal.kept:
        kept.append(f"{len(withdrawal.kept)} classes kept their trust although they should have lost it")
    if raising is not None and raising.kept:
        kept.append(f"{len(raising.kept)} bands of confidence that have lost are answered by the student all the same")
    budget = "; ".join(kept) + ": the teacher would answer more than watch.max_fallback_share" if kept else ""
    share = round(withdrawal.teacher_share, 4)
    return {"withdrawn": undo, "kept": list(withdrawal.kept), "teacher_share": share, "budget": budget}


def _costs(state: TaskState, share: float, before: Mapping[str, Any]) -> dict[str, Any]:
    """What the teacher's larger share costs a day, by the prices at which the task's exchanges were accounted.

    None where too little was seen, and of an alarm that is brought up to date the share from before it was opened.
    """
    known = before.get("costs")
    earlier = round(state.traffic.teacher_share(), 4) if known is None else known["teacher_share_before"]
    per_day, call = state.volume.per_day, state.volume.teacher_call_usd
    dollars = None if per_day is None or call is None else round(max(share - earlier, 0.0) * per_day * call, 4)
    return {
        "teacher_share_before": earlier,
        "exchanges_a_day": None if per_day is None else round(per_day),
        "teacher_call_usd": None if call is None else float(f"{call:.4g}"),
        "fallback_usd_a_day": dollars,
    }
