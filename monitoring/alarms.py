"""From signals to alarms and trust: what has tripped is written into the ledger, and acted on at once.

`review` may be called whenever, and twice for the same: a cause has one open alarm at a time, and withdrawing trust
again changes nothing. So a monitor that dies after an alarm, before its next snapshot, does no harm when it reads the
same comparisons again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import structlog

from core.ids import mint
from core.ledger import Alarm, Ledger, Severity, Trust
from core.settings import WatchSettings
from monitoring.cascade import Raising, Thresholds, told_of
from monitoring.drift_windows import Score
from monitoring.evidence import Evidence, describe, gather
from monitoring.rules import Rules
from monitoring.signals import (
    CLASSES,
    DRIFT,
    STUDENT,
    change_of,
    has_recovered,
    restart,
    tripped,
    tripped_classes,
)
from monitoring.state import OpenAlarm, TaskState
from monitoring.version import VersionState
from monitoring.withdrawal import Withdrawal, plan, withdrawn_rows

_ACTOR: Final = "monitor"
_WINDOWS: Final = 2  # in a row that must be called drift for its alarm to open, and calm for it to close
_MINUTE: Final = 60.0

_log = structlog.get_logger("tutelage.monitor")


@dataclass(frozen=True, slots=True)
class _Case:
    """One cause under review."""

    state: TaskState
    watched: VersionState
    cause: str
    standing: Alarm | None
    """The open alarm in the ledger; `known`: what the state remembers of it."""
    known: OpenAlarm | None
    now: float


class Reviewer:
    """Looks at a task's state and brings the ledger in step with it. Blocks: callers use a thread."""

    def __init__(self, task: str, ledger: Ledger, rules: Rules, watch: WatchSettings) -> None:
        self._task = task
        self._ledger = ledger
        self._rules = rules
        self._watch = watch
        self._thresholds = Thresholds(task, ledger, rules, watch)
        self.open: dict[str, Severity] = {}
        """Severity of the champion's open alarms, by cause, as of the last review."""

    def review(self, state: TaskState, now: float) -> None:
        """Open, update and close alarms, and withdraw trust. `now`: seconds since the epoch.

        Raises sqlalchemy.exc.SQLAlchemyError where the ledger is away; call again then.
        """
        watched = state.watched
        if watched is None:
            return
        standing = self._meet_ledger(state, watched, now)
        for cause in (STUDENT, CLASSES):
            case = _Case(state, watched, cause, standing.get(cause), state.alarms.get(cause), now)
            self._review_agreement(case)
        self._review_drift(state, standing.get(DRIFT), now)
        self.open = {alarm.cause: alarm.severity for alarm in self._ledger.alarms.open(self._task)}

    def _meet_ledger(self, state: TaskState, watched: VersionState, now: float) -> dict[str, Alarm]:
        """The champion's open alarms by cause. Those of other versions are closed; those closed by others forgotten."""
        standing: dict[str, Alarm] = {}
        for alarm in self._ledger.alarms.open(self._task):
            if alarm.version == state.champion:
                standing[alarm.cause] = alarm
            else:
                self._ledger.alarms.resolve(alarm.id, f"version {state.champion} answers now", now)
        for cause, known in list(state.alarms.items()):
            if known.version != state.champion:
                del state.alarms[cause]
            elif cause not in standing:
                del state.alarms[cause]
                restart(watched, cause)
        return standing

    def _review_agreement(self, case: _Case) -> None:
        has_tripped = tripped(case.watched, case.cause, self._rules)
        if case.known is None:
            cooldown = self._ledger.alarms.cooldown(self._task, case.state.champion, case.cause) if has_tripped else 0
            if not has_tripped or (case.standing is None and case.now < cooldown):
                return
        elif case.standing is not None and has_recovered(case.watched, case.cause, case.known):
            self._close(case, case.standing)
            return
        elif not case.known.is_due(case.watched.number) and not (case.cause == CLASSES and has_tripped):
            return
        self._act(case)

    def _close(self, case: _Case, standing: Alarm) -> None:
        self._ledger.alarms.resolve(standing.id, "agreement is back above its baseline", case.now)
        _log.info("alarm_recovered", task=self._task, alarm=standing.id, cause=case.cause)
        del case.state.alarms[case.cause]
        restart(case.watched, case.cause)

    def _act(self, case: _Case) -> None:
        """Write the alarm down, then take what it takes: so what was taken can be read in the alarm."""
        state, watched, known = case.state, case.watched, case.known
        surely = tripped_classes(watched, self._rules) if case.cause == CLASSES else frozenset()
        change = known.change if known is not None else change_of(watched, case.cause, surely)
        looks = known.looks + 1 if known is not None else 1
        evidence = gather(watched, change, self._rules, looks)
        trust = self._ledger.trust(self._task, state.champion)
        withdrawal = self._plan(state, evidence, surely, trust)
        raising = self._thresholds.plan(watched, evidence, withdrawal, trust, case.now)
        alarm = self._write(case, evidence, surely, withdrawal, trust, raising)
        if raising is not None:
            self._thresholds.raise_to(raising, alarm)
        if withdrawal.withdrawn:
            self._withdraw(state.champion, trust, withdrawal, evidence, alarm)
        raised = known.raised if known is not None else watched.number
        state.alarms[case.cause] = OpenAlarm(alarm.id, state.champion, change, raised, watched.number, looks)
        for label in surely:
            watched.class_detectors[label].restart()

    def _plan(
        self, state: TaskState, evidence: Evidence, surely: frozenset[str], trust: dict[str, Trust]
    ) -> Withdrawal:
        gone = frozenset(label for label, row in trust.items() if not row.trusted)
        return plan(
            evidence,
            surely,
            trusted=frozenset(trust) - gone,
            gone=gone,
            traffic=state.traffic,
            rules=self._rules,
            policy=self._watch.withdraw,
            most=self._watch.max_fallback_share,
        )

    def _write(
        self,
        case: _Case,
        evidence: Evidence,
        surely: frozenset[str],
        withdrawal: Withdrawal,
        trust: dict[str, Trust],
        raising: Raising | None,
    ) -> Alarm:
        """Bring the open alarm up to date, or open one."""
        baseline = case.watched.baseline.overall if case.cause == STUDENT else self._rules.min_agreement
        before = case.standing
        told = describe(case.watched, evidence, self._rules, baseline)
        known = before.evidence if before is not None else {}
        told |= _told(withdrawal, trust, known) | told_of(raising, known)
        labels = (*(before.labels if before is not None else ()), *sorted(surely), *evidence.named)
        alarm = self._new(case.cause, case.state.champion, case.now)
        alarm = replace(
            before or alarm,
            labels=tuple(dict.fromkeys(labels)),
            severity=Severity.CRITICAL if withdrawal.kept or self._watch.withdraw == "none" else Severity.WARNING,
            evidence=told,
            updated=case.now,
        )
        if before is not None:
            self._ledger.alarms.update(alarm)
            return alarm
        first = evidence.change.exchange if evidence.change is not None else ""
        alarm = self._ledger.alarms.raise_alarm(replace(alarm, first_exchange=first))
        _log.warning(
            "alarm",
            task=self._task,
            alarm=alarm.id,
            cause=case.cause,
            version=alarm.version,
            labels=list(alarm.labels),
            baseline=told["baseline"],
            agreement=told["student_agreement"]["estimate"],
            comparisons=told["student_agreement"]["comparisons"],
        )
        return alarm

    def _new(self, cause: str, version: str, now: float) -> Alarm:
        return Alarm(
            id=mint("al"),
            task=self._task,
            version=version,
            signal=cause,
            cause=cause,
            severity=Severity.INFO,
            opened=now,
            updated=now,
            cooldown=now + self._watch.cooldown_minutes * _MINUTE,
            retrain=cause in self._watch.retrain_on,
            labels=(),
            evidence={},
            first_exchange="",
        )

    def _withdraw(
        self, version: str, trust: dict[str, Trust], withdrawal: Withdrawal, evidence: Evidence, alarm: Alarm
    ) -> None:
        rows = withdrawn_rows(trust, withdrawal.withdrawn, evidence, alarm.id, alarm.updated)
        self._ledger.set_trust(self._task, version, rows)
        detail = {
            "alarm": alarm.id,
            "labels": list(withdrawal.withdrawn),
            "kept": list(withdrawal.kept),
            "teacher_share": round(withdrawal.teacher_share, 4),
        }
        self._ledger.audit(_ACTOR, "withdraw_trust", self._task, version, detail)
        _log.warning("trust_withdrawn", task=self._task, version=version, **detail)

    def _review_drift(self, state: TaskState, standing: Alarm | None, now: float) -> None:
        """Drift only warns, and only where two windows in a row are drift."""
        drift = state.drift
        if standing is not None:
            if drift.calm >= _WINDOWS:
                self._ledger.alarms.resolve(standing.id, "the last windows look like the reference again", now)
            return
        if drift.version != state.champion or drift.drifted < _WINDOWS:
            return
        if now < self._ledger.alarms.cooldown(self._task, state.champion, DRIFT):
            return
        told = {"signals": [_signal(score) for score in drift.scores], "windows": drift.drifted}
        alarm = self._ledger.alarms.raise_alarm(replace(self._new(DRIFT, state.champion, now), evidence=told))
        _log.warning("alarm", task=self._task, alarm=alarm.id, cause=DRIFT, version=state.champion, **told)


def _told(withdrawal: Withdrawal, trust: dict[str, Trust], before: dict[str, Any]) -> dict[str, Any]:
    """What was done, with what is needed to undo it; `before` is the alarm's evidence so far."""
    undo = dict(before.get("withdrawn", {}))
    for label in withdrawal.withdrawn:
        row = trust[label]
        undo[label] = {"agreement": row.agreement, "examples": row.examples, "evidence": row.evidence}
    budget = ""
    if withdrawal.kept:
        budget = (
            f"{len(withdrawal.kept)} classes kept their trust although they should have lost it: the teacher would "
            "answer more than watch.max_fallback_share"
        )
    share = round(withdrawal.teacher_share, 4)
    return {"withdrawn": undo, "kept": list(withdrawal.kept), "teacher_share": share, "budget": budget}


def _signal(score: Score) -> dict[str, Any]:
    return {
        "signal": score.signal,
        "score": round(score.score, 4),
        "threshold": round(score.threshold, 4),
        "p_value": round(score.p_value, 4),
    }
