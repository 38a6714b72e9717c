"""The parts of a report that the ledger knows: alarms, retrainings, and what was decided."""

from __future__ import annotations

from typing import Final

from core.ledger import Alarm, Ledger, Run, RunState
from monitoring.notify.message import how_sure, what_happened, what_was_done
from monitoring.report.parts import AlarmLine, Deed, RunLine
from monitoring.report.window import Window

_ALARMS: Final = 1000
_RUNS: Final = 200
_ENTRIES: Final = 2000
_DECISIONS: Final = frozenset(
    {
        *("promote", "rollback", "challenge", "canary", "refuse", "end_canary"),
        *("withdraw_trust", "restore_trust", "raise_threshold", "restore_threshold"),
        *("resolve_alarm", "retrain", "accept_template"),
    }
)


def alarms_of(ledger: Ledger, task: str, window: Window) -> list[AlarmLine]:
    """The task's alarms that were open at some time of the window, of whatever version; the oldest first."""
    found = [alarm for alarm in ledger.alarms.newest(task, limit=_ALARMS) if _open_in(alarm, window)]
    return [_line(alarm) for alarm in reversed(found)]


def runs_of(ledger: Ledger, task: str, window: Window) -> list[RunLine]:
    """The retrainings that were under way at some time of the window; the oldest first."""
    found = ledger.runs.newest(task, limit=_RUNS)
    return [
        RunLine(
            run.id, run.state.value, run.champion, run.candidate, run.started, run.updated, _reason(run), _cost(run)
        )
        for run in reversed(found)
        if run.started < window.ended and (run.state is RunState.RUNNING or run.updated >= window.began)
    ]


def deeds_of(ledger: Ledger, task: str, window: Window) -> list[Deed]:
    """What was decided in the window, by people and by Tutelage itself; not what they noted, which is free text."""
    return [
        Deed(entry.at, entry.actor, entry.action, entry.version)
        for entry in reversed(ledger.audit_trail(task, limit=_ENTRIES))
        if entry.action in _DECISIONS and window.began <= entry.at < window.ended
    ]


def _open_in(alarm: Alarm, window: Window) -> bool:
    return alarm.opened < window.ended and (alarm.resolved is None or alarm.resolved >= window.began)


def _line(alarm: Alarm) -> AlarmLine:
    return AlarmLine(
        id=alarm.id,
        version=alarm.version,
        cause=alarm.cause,
        severity=alarm.severity.value,
        state=alarm.state.value,
        opened=alarm.opened,
        resolved=alarm.resolved,
        classes=list(alarm.labels),
        what=what_happened(alarm),
        sure=how_sure(alarm),
        done=what_was_done(alarm),
        first_exchange=alarm.first_exchange,
    )


def _reason(run: Run) -> str:
    """Why it ended so. What broke a run may quote what it was at, so that is not told."""
    if run.state in (RunState.PROMOTED, RunState.REFUSED):
        return run.reason
    return "" if run.state is RunState.RUNNING else "it broke off; `tutelage runs --show` says why"


def _cost(run: Run) -> float | None:
    """What the teacher's calls of a run cost, for labels and for its trial; None before it has asked for any."""
    parts = [run.record[step]["cost_usd"] for step in ("data", "trial") if "cost_usd" in run.record.get(step, {})]
    return sum(parts) if parts else None
