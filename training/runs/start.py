"""Beginning a run: why, against which champion, and what counts as recent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from core import ids
from core.errors import DataError
from core.ledger import Alarm, Run, RunState
from training.promotion import CHAMPION
from training.runs.context import RunContext
from training.runs.results import FIRST_STEP, About

SCHEDULE: Final = "schedule"
"""Who asks for a run that no alarm and no person asked for."""

_HOUR: Final = 3600.0
_DAY: Final = 86_400.0
_TRAIL: Final = 10_000


def begin_run(context: RunContext, task: str, alarms: Sequence[Alarm] = (), *, actor: str = "trainer") -> Run | None:
    """Write down a new run of a task, for a trainer to claim; None where the task has a running one.

    Several alarms that are open together are answered by one run; the first gives it its error budget. Raises DataError
    where the task has no champion: its first student is `tutelage train`'s.
    """
    champion = context.registry.version_of(task, CHAMPION)
    if champion is None:
        raise DataError(
            f"the task {task!r} has no champion to improve on; `tutelage train --task {task}` makes the first"
        )
    now = context.clock()
    alarm = alarms[0].id if alarms else ""
    about = About(
        actor=actor,
        recent_since=_recent_since(alarms, now - context.settings.task(task).retrain.recent_hours * _HOUR),
        classes=_classes(alarms),
        alarms=[one.id for one in alarms],
        cause="; ".join(one.cause for one in alarms) or (SCHEDULE if actor == SCHEDULE else ""),
        earlier=_scheduled_before(context, task) if actor == SCHEDULE else _judged_before(context, task, alarm),
    )
    run = ids.mint("run")
    begun = context.ledger.runs.begin(
        run, task, champion=champion, step=FIRST_STEP, at=now, alarm=alarm, about=msgspec.to_builtins(about)
    )
    if not begun:
        return None
    context.ledger.audit(actor, "retrain", task, champion, {"run": run, "alarms": about.alarms})
    return context.ledger.runs.get(run)


def is_scheduled(context: RunContext, task: str) -> bool:
    """Whether the schedule asks for a run: the last one, and the last promotion, are `retrain.every_days` ago.

    A task of which neither is known is due.
    """
    days = context.settings.task(task).retrain.every_days
    if days is None:
        return False
    runs = context.ledger.runs.newest(task, limit=1)
    promoted = (entry.at for entry in context.ledger.audit_trail(task, limit=_TRAIL) if entry.action == "promote")
    last = max([run.started for run in runs] + [next(promoted, 0.0)])
    return context.clock() >= last + days * _DAY


def _recent_since(alarms: Sequence[Alarm], otherwise: float) -> float:
    """When things began to change: the time of the earliest exchange that an alarm names."""
    times = []
    for alarm in alarms:
        try:
            times.append(ids.minted_at(alarm.first_exchange))
        except ValueError:
            continue  # the alarm names none
    return min(times, default=otherwise)


def _classes(alarms: Sequence[Alarm]) -> list[str]:
    """The classes that the alarms name; none, that is all, where one of them could not name any."""
    if any(not alarm.labels for alarm in alarms):
        return []
    return sorted({label for alarm in alarms for label in alarm.labels})


def _judged_before(context: RunContext, task: str, alarm: str) -> int:
    """Candidates of this alarm that the gates have judged."""
    if not alarm:
        return 0
    return sum("gates" in run.record for run in context.ledger.runs.newest(task, alarm=alarm))


def _scheduled_before(context: RunContext, task: str) -> int:
    """Candidates of scheduled runs that the gates have judged since one was promoted: they share an error budget."""
    count = 0
    for run in context.ledger.runs.newest(task):
        if run.state is RunState.PROMOTED:
            break
        scheduled = run.record.get("about", {}).get("actor") == SCHEDULE
        count += scheduled and "gates" in run.record
    return count
