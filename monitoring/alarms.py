"""From signals to alarms and trust: what has tripped is written into the ledger, and acted on at once.

`review` may be called whenever, and twice for the same: a cause has one open alarm at a time, and withdrawing trust
again changes nothing. So a monitor that dies after an alarm, before its next snapshot, does no harm when it reads the
same comparisons again. It blocks: callers use a thread.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import structlog

from core.ids import mint
from core.ledger import Alarm, Ledger, Severity, Trust
from core.settings import WatchSettings
from monitoring.drift_windows import Score
from monitoring.evidence import Evidence, describe, gather
from monitoring.rules import Rules
from monitoring.state import OpenAlarm, TaskState
from monitoring.statistics.detector import Mark
from monitoring.version import VersionState
from monitoring.withdrawal import Withdrawal, plan, withdrawn_rows

STUDENT: Final = "student_agreement"
CLASSES: Final = "class_agreement"
DRIFT: Final = "input_drift"
SIGNALS: Final = (STUDENT, CLASSES, DRIFT)

_ACTOR: Final = "monitor"
_WINDOWS: Final = 2  # that must be called drift in a row, and calm in a row, for its alarm to open and to close
_MINUTE: Final = 60.0

_log = structlog.get_logger("tutelage.monitor")


def is_due(state: TaskState, rules: Rules) -> bool:
    """Whether `review` would find something to do; cheap enough to ask after every batch."""
    watched = state.watched
    if watched is None:
        return False
    known = state.alarms.values()
    if any(alarm.version != state.champion or alarm.is_due(watched.number) for alarm in known):
        return True
    return (STUDENT not in state.alarms and _tripped(watched, STUDENT, rules)) or _tripped(watched, CLASSES, rules)


class Reviewer:
    """Looks at a task's state and brings the ledger in step with it."""

    def __init__(self, task: str, ledger: Ledger, rules: Rules, watch: WatchSettings) -> None:
        self._task = task
        self._ledger = ledger
        self._rules = rules
        self._watch = watch
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
            self._review_agreement(state, watched, cause, standing.get(cause), now)
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
            if known.version != state.champion or cause not in standing:
                del state.alarms[cause]
                if known.version == state.champion:
                    _restart(watched, cause)
        return standing

    def _review_agreement(
        self, state: TaskState, watched: VersionState, cause: str, standing: Alarm | None, now: float
    ) -> None:
        known, tripped = state.alarms.get(cause), _tripped(watched, cause, self._rules)
        if known is None and not tripped:
            return
        if standing is None and now < self._ledger.alarms.cooldown(self._task, state.champion, cause):
            return
        if standing is not None and known is not None:
            if self._has_recovered(watched, cause, known):
                self._ledger.alarms.resolve(standing.id, "agreement is back above its baseline", now)
                _log.info("alarm_recovered", task=self._task, alarm=standing.id, cause=cause)
                del state.alarms[cause]
                _restart(watched, cause)
                return
            if not known.is_due(watched.number) and not (cause == CLASSES and tripped):
                return
        surely = frozenset(_tripped_classes(watched, self._rules)) if cause == CLASSES else frozenset()
        change = known.change if known is not None else _change(watched, cause, surely)
        evidence = gather(watched, change, self._rules, known.looks + 1 if known is not None else 1)
        self._act(state, watched, cause, surely, evidence, standing, now)

    def _act(
        self,
        state: TaskState,
        watched: VersionState,
        cause: str,
        surely: frozenset[str],
        evidence: Evidence,
        standing: Alarm | None,
        now: float,
    ) -> None:
        """Write the alarm down and withdraw trust, in this order: what was withdrawn can be read in the alarm."""
        trust = self._ledger.trust(self._task, state.champion)
        gone = frozenset(label for label, row in trust.items() if not row.trusted)
        withdrawal = plan(
            evidence,
            surely,
            frozenset(trust) - gone,
            gone,
            state.traffic,
            self._rules,
            self._watch.withdraw,
            self._watch.max_fallback_share,
        )
        reference = watched.baseline.overall if cause == STUDENT else self._rules.min_agreement
        before = standing.evidence if standing is not None else {}
        told = describe(watched, evidence, self._rules, reference) | _action(withdrawal, trust, before)
        labels = tuple(dict.fromkeys((*(standing.labels if standing else ()), *sorted(surely), *evidence.named)))
        severity = Severity.CRITICAL if withdrawal.kept or self._watch.withdraw == "none" else Severity.WARNING
        alarm = self._write(cause, state.champion, labels, severity, told, evidence, standing, now)
        self._withdraw(state.champion, trust, withdrawal, evidence, alarm, now)
        known = state.alarms.get(cause)
        raised, looks = (known.raised, known.looks) if known is not None else (watched.number, 0)
        state.alarms[cause] = OpenAlarm(
            alarm.id, state.champion, evidence.change, raised, reviewed=watched.number, looks=looks + 1
        )
        for label in surely:
            watched.class_detectors[label].restart()

    def _write(
        self,
        cause: str,
        version: str,
        labels: tuple[str, ...],
        severity: Severity,
        told: dict[str, Any],
        evidence: Evidence,
        standing: Alarm | None,
        now: float,
    ) -> Alarm:
        if standing is not None:
            alarm = replace(standing, labels=labels, severity=severity, evidence=told, updated=now)
            self._ledger.alarms.update(alarm)
            return alarm
        first = evidence.change.exchange if evidence.change is not None else ""
        alarm = self._open(cause, version, labels, severity, told, now, first_exchange=first)
        _log.warning(
            "alarm", task=self._task, alarm=alarm.id, cause=cause, version=version, labels=list(labels), **_brief(told)
        )
        return alarm

    def _open(
        self,
        cause: str,
        version: str,
        labels: tuple[str, ...],
        severity: Severity,
        told: dict[str, Any],
        now: float,
        first_exchange: str = "",
    ) -> Alarm:
        return self._ledger.alarms.raise_alarm(
            Alarm(
                id=mint("al"),
                task=self._task,
                version=version,
                signal=cause,
                cause=cause,
                severity=severity,
                opened=now,
                updated=now,
                cooldown=now + self._watch.cooldown_minutes * _MINUTE,
                retrain=cause in self._watch.retrain_on,
                labels=labels,
                evidence=told,
                first_exchange=first_exchange,
            )
        )

    def _withdraw(
        self,
        version: str,
        trust: dict[str, Trust],
        withdrawal: Withdrawal,
        evidence: Evidence,
        alarm: Alarm,
        now: float,
    ) -> None:
        if not withdrawal.withdrawn:
            return
        rows = withdrawn_rows(trust, withdrawal.withdrawn, evidence, alarm.id, now)
        self._ledger.set_trust(self._task, version, rows)
        detail = {
            "alarm": alarm.id,
            "labels": list(withdrawal.withdrawn),
            "kept": list(withdrawal.kept),
            "teacher_share": round(withdrawal.teacher_share, 4),
        }
        self._ledger.audit(_ACTOR, "withdraw_trust", self._task, version, detail)
        _log.warning("trust_withdrawn", task=self._task, version=version, **detail)

    def _has_recovered(self, watched: VersionState, cause: str, known: OpenAlarm) -> bool:
        """Hysteresis: the recent comparisons, all of them made after the alarm, agree above the baseline.

        What a class lost only a candidate, or a person, can give back: its answers are no longer given.
        """
        student = watched.student
        recent = student.recent
        return (
            cause == STUDENT
            and student.recent_from >= known.raised > 0
            and recent.estimate is not None
            and recent.estimate >= watched.baseline.overall
        )

    def _review_drift(self, state: TaskState, standing: Alarm | None, now: float) -> None:
        """Drift only warns, and only where two windows in a row are drift."""
        drift = state.drift
        if standing is None:
            held = now < self._ledger.alarms.cooldown(self._task, state.champion, DRIFT)
            if drift.version != state.champion or drift.drifted < _WINDOWS or held:
                return
            told = {"signals": [_signal(score) for score in drift.scores], "windows": drift.drifted}
            alarm = self._open(DRIFT, state.champion, (), Severity.INFO, told, now)
            _log.warning("alarm", task=self._task, alarm=alarm.id, cause=DRIFT, version=state.champion, **told)
        elif drift.calm >= _WINDOWS:
            self._ledger.alarms.resolve(standing.id, "the last windows look like the reference again", now)


def _tripped(watched: VersionState, cause: str, rules: Rules) -> bool:
    if cause == STUDENT:
        return watched.detector.value >= rules.limit
    return bool(_tripped_classes(watched, rules))


def _tripped_classes(watched: VersionState, rules: Rules) -> list[str]:
    return [label for label, detector in watched.class_detectors.items() if detector.value >= rules.limit]


def _change(watched: VersionState, cause: str, surely: frozenset[str]) -> Mark | None:
    if cause == STUDENT:
        return watched.detector.change
    marks = [mark for label in surely if (mark := watched.class_detectors[label].change) is not None]
    return min(marks, key=lambda mark: mark.number, default=None)


def _restart(watched: VersionState, cause: str) -> None:
    """After an alarm is closed: what tripped it is not held against the student twice."""
    if cause == STUDENT:
        watched.detector.restart()
    elif cause == CLASSES:
        for detector in watched.class_detectors.values():
            detector.restart()


def _action(withdrawal: Withdrawal, trust: dict[str, Trust], before: dict[str, Any]) -> dict[str, Any]:
    """What was done, with what is needed to undo it."""
    undo = dict(before.get("withdrawn", {}))
    for label in withdrawal.withdrawn:
        row = trust[label]
        undo[label] = {"agreement": row.agreement, "examples": row.examples, "evidence": row.evidence}
    text = ""
    if withdrawal.kept:
        text = (
            f"{len(withdrawal.kept)} classes kept their trust although they should have lost it: the teacher would "
            "answer more than watch.max_fallback_share"
        )
    return {
        "withdrawn": undo,
        "kept": list(withdrawal.kept),
        "teacher_share": round(withdrawal.teacher_share, 4),
        "budget": text,
    }


def _brief(told: dict[str, Any]) -> dict[str, Any]:
    return {
        "agreement": told["student_agreement"]["estimate"],
        "baseline": told["baseline"],
        "comparisons": told["student_agreement"]["comparisons"],
    }


def _signal(score: Score) -> dict[str, Any]:
    return {
        "signal": score.signal,
        "score": round(score.score, 4),
        "threshold": round(score.threshold, 4),
        "p_value": round(score.p_value, 4),
    }
