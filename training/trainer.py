"""The trainer's decisions: which run to go on with, which to start, which alarms are done with."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from core.errors import TutelageError
from core.ledger import Alarm, RunState
from core.retraining import earliest_start
from monitoring.signals import TEACHER
from training.forgetting import DataKeeper
from training.promotion import CHAMPION
from training.runs import SCHEDULE, RunContext, Runner, begin_run, is_scheduled

Serving = Callable[[str], str | None]
"""The version of a task's champion that the student server has loaded; None where that is not known."""

_ALL: Final = "all tasks"

_log = structlog.get_logger("tutelage.trainer")


class Trainer:
    """Looks after all tasks. `tick` does what there is to do and returns; call it every few seconds."""

    def __init__(self, context: RunContext, runner: Runner, serving: Serving) -> None:
        self._context = context
        self._runner = runner
        self._serving = serving
        self._keeper = DataKeeper(context.settings, context.ledger, context.clock)
        self._complained: dict[str, str] = {}

    def tick(self) -> None:
        """Look at every task once. What goes wrong with one holds up no other; it is logged, and tried again."""
        self._try(_ALL, self._keeper.tick)
        for task in self._context.settings.tasks:
            self._try(task, partial(self._look_after, task))

    def release(self) -> None:
        """Give the runs back that this trainer holds, so that the next one need not wait for its claims to grow old."""
        for task in self._context.settings.tasks:
            run = self._context.ledger.runs.running(task)
            if run is not None:
                self._runner.release(run.id)

    def _try(self, task: str, work: Callable[[], None]) -> None:
        try:
            work()
        except (SQLAlchemyError, TutelageError) as error:
            self._complain(task, str(error))
        else:
            self._complained.pop(task, None)

    def _look_after(self, task: str) -> None:
        run = self._context.ledger.runs.running(task)
        if run is not None:
            self._runner.work(run.id)
        self._resolve(task)
        if run is None:
            self._start(task)

    def _start(self, task: str) -> None:
        """Start a run where an alarm asks for it, or the schedule does, and the settings allow it."""
        champion = self._context.registry.version_of(task, CHAMPION)
        alarms = [one for one in self._context.ledger.alarms.open(task) if one.retrain and one.version == champion]
        scheduled = not alarms and champion is not None and is_scheduled(self._context, task)
        if not (alarms or scheduled) or not self._may_start(task):
            return
        run = begin_run(self._context, task, alarms, actor=SCHEDULE if scheduled else self._context.actor)
        if run is not None:
            _log.info("run_begun", run=run.id, task=task, alarms=[alarm.id for alarm in alarms], scheduled=scheduled)
            self._runner.work(run.id)

    def _may_start(self, task: str) -> bool:
        if self._is_held(task):
            return False
        now = self._context.clock()
        return earliest_start(self._context.ledger.runs, task, self._context.settings.task(task), now).at <= now

    def _is_held(self, task: str) -> bool:
        """Whether a changed teacher is to be looked at by a person before a student learns from it."""
        if not self._context.settings.task(task).watch.hold_on_teacher_drift:
            return False
        return any(alarm.cause == TEACHER for alarm in self._context.ledger.alarms.open(task))

    def _resolve(self, task: str) -> None:
        """Close the alarms about a version whose successor has taken over: what they said is about the past."""
        alarms = [alarm for alarm in self._context.ledger.alarms.open(task) if alarm.retrain]
        champion = self._context.registry.version_of(task, CHAMPION) if alarms else None
        past = [alarm for alarm in alarms if alarm.version != champion]
        if not past or champion is None or self._serving(task) != champion:
            return
        for alarm in past:
            note = self._note(task, alarm, champion)
            if self._context.ledger.alarms.resolve(alarm.id, note, self._context.clock()):
                self._context.ledger.audit(self._context.actor, "resolve", task, champion, {"alarm": alarm.id})
                _log.info("alarm_resolved", task=task, alarm=alarm.id, version=champion)

    def _note(self, task: str, alarm: Alarm, champion: str) -> str:
        for run in self._context.ledger.runs.newest(task, limit=20):
            if run.state is RunState.PROMOTED and run.candidate == champion:
                return f"version {champion} has taken over from version {alarm.version} (run {run.id})"
        return f"version {champion} has taken over from version {alarm.version}"

    def _complain(self, task: str, trouble: str) -> None:
        """Log a trouble once, not every few seconds."""
        if self._complained.get(task) != trouble:
            self._complained[task] = trouble
            _log.error("trainer_held_up", task=task, error=trouble, hint="trying again")
