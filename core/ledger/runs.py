"""Retrainings: one row a run, what each of its steps found, and who works on it.

A task has one running run at a time; an index of the database says so, whoever asks. A trainer holds a run by a claim
that it renews; a claim that has not been renewed for a while may be taken over. Every write names the claim and the
step that it was made under, so a trainer that was stopped for an hour and wakes up changes nothing any more.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Engine, RowMapping, Update, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from core.ledger.tables import runs


class RunState(StrEnum):
    """What became of a run. Only `RUNNING` is not final."""

    RUNNING = "running"
    PROMOTED = "promoted"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Run:
    """One retraining. Times are seconds since the epoch."""

    id: str
    task: str
    alarm: str
    """The alarm that asked for it; empty where a person did."""
    state: RunState
    step: str
    """The step that is under way or comes next; of a run that has ended, its last."""
    candidate: str
    """The candidate's version, once it is registered."""
    champion: str
    """The version that it is measured against."""
    started: float
    updated: float
    verdict: str
    """`passed`, `refused`, or empty while nothing is decided."""
    reason: str
    """Why the run ended so; while it runs, why the last attempt failed."""
    report: str
    """Path of the report (HTML); the same with `.json` beside it."""
    record: dict[str, Any]
    """What each finished step found, by the step's name."""
    owner: str
    heartbeat: float
    attempts: int
    """How often the step under way has been begun."""


class Runs:
    """The runs' part of the ledger."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def begin(
        self, run: str, task: str, *, champion: str, step: str, at: float, alarm: str = "", about: Mapping[str, Any]
    ) -> bool:
        """Write down a new run, which nobody has claimed yet. False: the task has a running one.

        `about` is kept in the record under `about`; it must be JSON.
        """
        values = {
            "id": run,
            "task": task,
            "alarm": alarm,
            "state": RunState.RUNNING.value,
            "step": step,
            "candidate": "",
            "champion": champion,
            "started": at,
            "updated": at,
            "verdict": "",
            "reason": "",
            "report": "",
            "record": json.dumps({"about": dict(about)}),
            "owner": "",
            "heartbeat": at,
            "attempts": 0,
        }
        try:
            with self._engine.begin() as connection:
                connection.execute(insert(runs).values(values))
        except IntegrityError:
            return False
        return True

    def get(self, run: str) -> Run | None:
        """A run by its id, or None."""
        with self._engine.connect() as connection:
            row = connection.execute(select(runs).where(runs.c.id == run)).mappings().first()
        return None if row is None else _run(row)

    def running(self, task: str) -> Run | None:
        """The task's running run, or None."""
        query = select(runs).where(runs.c.task == task, runs.c.state == RunState.RUNNING.value)
        with self._engine.connect() as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else _run(row)

    def newest(self, task: str | None = None, *, alarm: str | None = None, limit: int = 100) -> list[Run]:
        """The newest runs first, of one task or of all, of one alarm or of any."""
        query = select(runs).order_by(runs.c.started.desc(), runs.c.id.desc()).limit(limit)
        if task is not None:
            query = query.where(runs.c.task == task)
        if alarm is not None:
            query = query.where(runs.c.alarm == alarm)
        with self._engine.connect() as connection:
            return [_run(row) for row in connection.execute(query).mappings()]

    def started_since(self, task: str, at: float) -> int:
        """How many of a task's runs have been started since then."""
        query = select(func.count()).select_from(runs).where(runs.c.task == task, runs.c.started >= at)
        with self._engine.connect() as connection:
            return int(connection.execute(query).scalar_one())

    def claim(self, run: str, owner: str, *, at: float, stale_before: float) -> bool:
        """Claim a running run that is nobody's, is the owner's, or whose claim was last renewed before then."""
        free = or_(runs.c.owner.in_(("", owner)), runs.c.heartbeat < stale_before)
        return self._changed(_running(run).where(free).values(owner=owner, heartbeat=at))

    def renew(self, run: str, owner: str, at: float) -> bool:
        """Renew a claim. False: it has been lost."""
        return self._changed(_held(run, owner).values(heartbeat=at))

    def release(self, run: str, owner: str) -> bool:
        """Give a claim back, so that the next trainer need not wait. False: it had been lost."""
        return self._changed(_held(run, owner).values(owner=""))

    def count_attempt(self, run: str, owner: str, step: str, at: float) -> bool:
        """Count, before a step is begun, that it is: also an attempt that kills its process counts."""
        counted = _held(run, owner, step).values(attempts=runs.c.attempts + 1, heartbeat=at)
        return self._changed(counted)

    def wait(self, run: str, owner: str, step: str, at: float) -> bool:
        """Note that a step is well and waits for something: its attempts count from zero again."""
        return self._changed(_held(run, owner, step).values(attempts=0, heartbeat=at))

    def note(self, run: str, owner: str, reason: str) -> bool:
        """Write down why a step's last attempt failed; the run's end overwrites it."""
        return self._changed(_held(run, owner).values(reason=reason))

    def finish_step(
        self, run: Run, owner: str, result: Mapping[str, Any], *, then: str, at: float, candidate: str | None = None
    ) -> bool:
        """Store what a run's step found and go on to the step `then`, all or nothing. False: the claim was lost."""
        values: dict[str, Any] = {
            "record": json.dumps(run.record | {run.step: dict(result)}),
            "step": then,
            "attempts": 0,
            "reason": "",
            "updated": at,
            "heartbeat": at,
        }
        if candidate is not None:
            values["candidate"] = candidate
        return self._changed(_held(run.id, owner, run.step).values(values))

    def close(
        self, run: Run, owner: str, state: RunState, *, verdict: str, reason: str, report: str, at: float
    ) -> bool:
        """End a run. False: the claim was lost."""
        values = {
            "state": state.value,
            "verdict": verdict,
            "reason": reason,
            "report": report,
            "updated": at,
            "owner": "",
        }
        return self._changed(_held(run.id, owner, run.step).values(values))

    def _changed(self, statement: Update) -> bool:
        with self._engine.begin() as connection:
            return connection.execute(statement).rowcount == 1


def _running(run: str) -> Update:
    return update(runs).where(runs.c.id == run, runs.c.state == RunState.RUNNING.value)


def _held(run: str, owner: str, step: str | None = None) -> Update:
    held = _running(run).where(runs.c.owner == owner)
    return held if step is None else held.where(runs.c.step == step)


def _run(row: RowMapping) -> Run:
    values = dict(row)
    return Run(**values | {"state": RunState(values["state"]), "record": json.loads(values["record"])})
