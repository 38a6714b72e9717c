"""Alarms: what tripped, on what evidence, and what has become of it.

A cause has one open alarm at a time for each version, and an index of the database says so: a monitor that dies between
an alarm and its next snapshot raises the same alarm again, and finds it raised.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from sqlalchemy import Engine, RowMapping, insert, select, update
from sqlalchemy.exc import IntegrityError

from core.ledger.tables import alarms


class AlarmState(StrEnum):
    """How far an alarm has come. An acknowledged one is still open: somebody has seen it."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


class Severity(StrEnum):
    """How bad it is. `CRITICAL`: clients get worse answers, and not all of it could be put right at once."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm. Times are seconds since the epoch."""

    id: str
    task: str
    version: str
    """The student's version that it is about."""
    signal: str
    """The monitored number that tripped."""
    cause: str
    """What is taken to be behind it: there is one open alarm for each."""
    severity: Severity
    opened: float
    updated: float
    cooldown: float
    """Until then the same cause opens no other alarm."""
    retrain: bool
    """Whether it asks for the student to be taught again."""
    labels: tuple[str, ...]
    """The classes with evidence of loss; empty: none could be named."""
    evidence: dict[str, Any]
    """JSON: numbers with their intervals and sample sizes, what was done about it, and where permitted examples."""
    first_exchange: str
    """The exchange with which the change is estimated to begin; empty where that makes no sense."""
    state: AlarmState = AlarmState.OPEN
    resolved: float | None = None
    note: str = ""
    """What a person, or who resolved it, had to say."""


class Alarms:
    """The alarms' part of the ledger."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def raise_alarm(self, alarm: Alarm) -> Alarm:
        """Open an alarm; returns it, or the one that is open already for its task, version and cause."""
        try:
            with self._engine.begin() as connection:
                connection.execute(insert(alarms).values(_values(alarm)))
        except IntegrityError:
            found = [other for other in self.open(alarm.task) if (other.version, other.cause) == _key(alarm)]
            # It was resolved between the two statements: there is none now, so this one may be opened after all.
            return found[0] if found else self.raise_alarm(alarm)
        return alarm

    def update(self, alarm: Alarm) -> bool:
        """Write down an open alarm's new severity, labels, evidence and `updated`. False: it is no longer open."""
        values = {name: _values(alarm)[name] for name in ("severity", "labels", "evidence", "updated", "retrain")}
        return self._change(alarm.id, values)

    def acknowledge(self, alarm: str, note: str, at: float) -> bool:
        """Note that somebody has seen an open alarm. False: there is no open one with this id."""
        return self._change(alarm, {"state": AlarmState.ACKNOWLEDGED.value, "note": note, "updated": at})

    def resolve(self, alarm: str, note: str, at: float) -> bool:
        """Close an alarm. False: there is no open one with this id."""
        values = {"state": AlarmState.RESOLVED.value, "note": note, "updated": at, "resolved": at}
        return self._change(alarm, values)

    def get(self, alarm: str) -> Alarm | None:
        """An alarm by its id."""
        with self._engine.connect() as connection:
            row = connection.execute(select(alarms).where(alarms.c.id == alarm)).mappings().first()
        return None if row is None else _alarm(row)

    def open(self, task: str | None = None) -> list[Alarm]:
        """The alarms that are not resolved, of one task or of all, the oldest first."""
        query = select(alarms).where(alarms.c.state != AlarmState.RESOLVED.value).order_by(alarms.c.opened)
        if task is not None:
            query = query.where(alarms.c.task == task)
        with self._engine.connect() as connection:
            return [_alarm(row) for row in connection.execute(query).mappings()]

    def newest(self, task: str | None = None, limit: int = 100) -> list[Alarm]:
        """The newest alarms first, of one task or of all, resolved ones included."""
        query = select(alarms).order_by(alarms.c.opened.desc(), alarms.c.id.desc()).limit(limit)
        if task is not None:
            query = query.where(alarms.c.task == task)
        with self._engine.connect() as connection:
            return [_alarm(row) for row in connection.execute(query).mappings()]

    def drop_examples(self, gone: Callable[[str], bool], task: str | None = None) -> int:
        """Take the examples of exchanges that must go out of all alarms' evidence; returns how many these were.

        `gone` is asked with an exchange's id. Resolved alarms are changed as well.
        """
        query = select(alarms.c.id, alarms.c.evidence).where(alarms.c.evidence.contains('"examples"'))
        if task is not None:
            query = query.where(alarms.c.task == task)
        count = 0
        with self._engine.connect() as connection:
            found = connection.execute(query).all()
        for alarm, written in found:
            count += self._drop_examples(alarm, written, gone)
        return count

    def cooldown(self, task: str, version: str, cause: str) -> float:
        """Until when the cause opens no other alarm (seconds since the epoch); 0 where it never had one."""
        query = (
            select(alarms.c.cooldown)
            .where(alarms.c.task == task, alarms.c.version == version, alarms.c.cause == cause)
            .order_by(alarms.c.cooldown.desc())
            .limit(1)
        )
        with self._engine.connect() as connection:
            return float(connection.execute(query).scalar_one_or_none() or 0.0)

    def _drop_examples(self, alarm: str, written: str, gone: Callable[[str], bool]) -> int:
        """Change one alarm's evidence, and look again where somebody else has changed it meanwhile."""
        evidence = json.loads(written)
        kept = [example for example in evidence["examples"] if not gone(example["exchange"])]
        dropped = len(evidence["examples"]) - len(kept)
        if not dropped:
            return 0
        same = update(alarms).where(alarms.c.id == alarm, alarms.c.evidence == written)
        with self._engine.begin() as connection:
            changed = connection.execute(same.values(evidence=json.dumps(evidence | {"examples": kept}))).rowcount
        if changed:
            return dropped
        with self._engine.connect() as connection:
            newer = connection.execute(select(alarms.c.evidence).where(alarms.c.id == alarm)).scalar_one_or_none()
        return 0 if newer is None else self._drop_examples(alarm, newer, gone)

    def _change(self, alarm: str, values: dict[str, Any]) -> bool:
        unresolved = update(alarms).where(alarms.c.id == alarm, alarms.c.state != AlarmState.RESOLVED.value)
        with self._engine.begin() as connection:
            return connection.execute(unresolved.values(values)).rowcount == 1


def _key(alarm: Alarm) -> tuple[str, str]:
    return alarm.version, alarm.cause


def _values(alarm: Alarm) -> dict[str, Any]:
    values = asdict(replace(alarm, evidence={}))
    return values | {"labels": json.dumps(alarm.labels), "evidence": json.dumps(alarm.evidence)}


def _alarm(row: RowMapping) -> Alarm:
    values = dict(row)
    return Alarm(
        **values
        | {
            "severity": Severity(values["severity"]),
            "state": AlarmState(values["state"]),
            "labels": tuple(json.loads(values["labels"])),
            "evidence": json.loads(values["evidence"]),
        }
    )
