"""From causes to alarms and trust: what has tripped is written into the ledger, and acted on at once.

`review` may be called whenever, and twice for the same: a cause has one open alarm at a time, and withdrawing trust
again changes nothing. So a monitor that dies after an alarm, before its next snapshot, does no harm when it reads the
same comparisons again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import structlog

from core.ids import mint
from core.ledger import Alarm, Ledger, Severity
from core.settings import WatchSettings
from monitoring.causes import Cause, Finding, Look, standard_causes
from monitoring.golden import TeacherWatch
from monitoring.measures import Measures, Taken
from monitoring.rules import Rules
from monitoring.staleness import look_at_staleness
from monitoring.state import OpenAlarm, TaskState
from monitoring.teacher import about_teacher

_MINUTE: Final = 60.0

_log = structlog.get_logger("tutelage.monitor")


class Reviewer:
    """Looks at a task's state and brings the ledger in step with it. Blocks: callers use a thread."""

    def __init__(
        self, task: str, ledger: Ledger, rules: Rules, watch: WatchSettings, causes: Sequence[Cause] | None = None
    ) -> None:
        """`causes`: by default all of `standard_causes`."""
        self._task = task
        self._ledger = ledger
        self._rules = rules
        self._watch = watch
        self._causes = standard_causes(task, ledger, watch) if causes is None else causes
        self._teacher = TeacherWatch(task, ledger, watch)
        self._measures = Measures(task, ledger, rules, watch)
        self.open: dict[str, Severity] = {}
        """Severity of the champion's open alarms, by cause, as of the last review."""

    def review(self, state: TaskState, now: float) -> None:
        """Open, update and close alarms, and withdraw trust. `now`: seconds since the epoch.

        Raises sqlalchemy.exc.SQLAlchemyError where the ledger is away; call again then.
        """
        state.golden = self._teacher.look(state.golden, now)
        self._pay_rounds(state)
        look_at_staleness(state, self._rules, now)
        watched = state.watched
        if watched is None:
            return
        look = Look(state, watched, self._rules, now, self._measures.present_confidence(state.champion))
        standing = self._meet_ledger(look)
        for cause in self._causes:
            self._review(cause, replace(look, known=state.alarms.get(cause.name), standing=standing.get(cause.name)))
        self.open = {alarm.cause: alarm.severity for alarm in self._ledger.alarms.open(self._task)}

    def _pay_rounds(self, state: TaskState) -> None:
        """Count what the golden set has cost, where there were rounds since the last time."""
        golden, money = state.golden, state.money
        if (golden.set, golden.round) > (money.golden_set, money.golden_round):
            since = money.golden_round + 1 if money.golden_set == golden.set else 0
            money.add_rounds(self._ledger.golden.rounds(self._task, golden.set, since))

    def _meet_ledger(self, look: Look) -> dict[str, Alarm]:
        """The champion's open alarms by cause. Those of other versions are closed; those closed by others forgotten."""
        state, standing = look.state, dict[str, Alarm]()
        for alarm in self._ledger.alarms.open(self._task):
            if alarm.version == state.champion:
                standing[alarm.cause] = alarm
            else:
                self._ledger.alarms.resolve(alarm.id, f"version {state.champion} answers now", look.now)
        for name, known in list(state.alarms.items()):
            if known.version != state.champion:
                del state.alarms[name]
            elif name not in standing:
                del state.alarms[name]
                for cause in self._causes:
                    if cause.name == name:
                        cause.restart(look)
        return standing

    def _review(self, cause: Cause, look: Look) -> None:
        if look.standing is not None:
            why = cause.recovered(look)
            if why:
                self._close(cause, look, look.standing, why)
            elif cause.is_due(look) or (look.known is None and cause.has_tripped(look)):
                self._act(cause, look)
        elif cause.has_tripped(look) and look.now >= self._cooldown(look.state.champion, cause):
            self._act(cause, look)

    def _cooldown(self, version: str, cause: Cause) -> float:
        return self._ledger.alarms.cooldown(self._task, version, cause.name)

    def _close(self, cause: Cause, look: Look, standing: Alarm, why: str) -> None:
        self._ledger.alarms.resolve(standing.id, why, look.now)
        _log.info("alarm_recovered", task=self._task, alarm=standing.id, cause=cause.name)
        look.state.alarms.pop(cause.name, None)
        cause.restart(look)

    def _act(self, cause: Cause, look: Look) -> None:
        """Write the alarm down, then take what it takes: so what was taken can be read in the alarm."""
        finding = cause.find(replace(look, confidence=self._measures.present_confidence(look.state.champion)))
        before = look.standing
        taken = self._measures.plan(look, finding, before.evidence if before is not None else {})
        alarm = self._write(cause, look, finding, taken)
        self._measures.take(taken, alarm)
        if alarm.evidence.get("withdrawn") or alarm.evidence.get("threshold"):
            look.watched.served_watch.frozen = True
        number, known = look.watched.number, look.known
        looks = known.looks + 1 if known is not None else 1
        change, raised = (known.change, known.raised) if known is not None else (finding.change, number)
        look.state.alarms[cause.name] = OpenAlarm(alarm.id, look.state.champion, change, raised, number, looks)
        cause.written(look, alarm, finding)

    def _write(self, cause: Cause, look: Look, finding: Finding, taken: Taken) -> Alarm:
        """Bring the open alarm up to date, or open one."""
        before = look.standing
        alarm = before or self._new(cause.name, look.state.champion, look.now)
        labels = (*alarm.labels, *finding.labels)
        alarm = replace(
            alarm,
            labels=tuple(dict.fromkeys(labels)),
            severity=Severity.CRITICAL if taken.insufficient else finding.severity,
            evidence={"what": finding.what, "sure": finding.sure}
            | finding.evidence
            | taken.told
            | about_teacher(look.state, self._rules, finding.evidence),
            updated=look.now,
            retrain=finding.retrain and cause.name in self._watch.retrain_on,
        )
        if before is not None:
            self._ledger.alarms.update(alarm)
            return alarm
        first = finding.change.exchange if finding.change is not None else ""
        alarm = self._ledger.alarms.raise_alarm(replace(alarm, first_exchange=first))
        _log.warning("alarm", **_logged(alarm))
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
            retrain=False,
            labels=(),
            evidence={},
            first_exchange="",
        )


def _logged(alarm: Alarm) -> dict[str, Any]:
    """What the log says of a new alarm: never examples."""
    told: dict[str, Any] = {"task": alarm.task, "alarm": alarm.id, "cause": alarm.cause, "version": alarm.version}
    told |= {"severity": alarm.severity.value, "labels": list(alarm.labels), "retrain": alarm.retrain}
    for name in ("baseline", "student_agreement", "served_agreement"):
        if name in alarm.evidence:
            told[name] = alarm.evidence[name]
    return told
