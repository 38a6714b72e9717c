"""Golden sets: fixed texts that the teacher is asked again and again, and what it answered each time.

The newest set of a task is the one in use; a set that replaces it deletes the older ones. Its texts are frozen copies.
Rounds are counted from 0. One worker asks a round: the row that it inserts, or takes over from one that is gone, says
that it is under way, and what it has learnt so far is written there as it goes, so that nothing is asked twice.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, Literal

from sqlalchemy import ColumnElement, Engine, RowMapping, Table, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from core.ledger.tables import golden_examples, golden_rounds, golden_sets

ROUNDS_KEPT: Final = 90
"""Rounds that are kept beside the one with which the comparison begins."""

UNREADABLE: Final = ""
"""The answer that was none of the labels."""


@dataclass(frozen=True, slots=True)
class GoldenExample:
    """One text. `number` counts from 0."""

    number: int
    text: str
    """Empty: it had to be forgotten, and is not asked any more."""
    label: str = ""
    """The truth; empty where nobody knows it."""
    exchange: str = ""
    """Whose text it is; empty for one of a file."""


@dataclass(frozen=True, slots=True)
class GoldenSet:
    """A set, without its texts."""

    task: str
    number: int
    source: Literal["files", "traffic"]
    teacher: str
    """Digest of all that says who is asked, and how: another teacher needs another set."""
    texts: str
    """Digest of the files' texts; empty for a set that was taken from traffic."""
    frozen_at: float
    """Seconds since the epoch."""
    baseline: int = 0
    """The round whose answers are the first ones, with which later ones are compared."""


@dataclass(frozen=True, slots=True)
class GoldenRound:
    """All texts asked once. Times are seconds since the epoch."""

    task: str
    set: int
    number: int
    owner: str
    started: float
    finished: float | None = None
    """None: it is under way."""
    answers: Mapping[int, str] = field(default_factory=dict)
    """By the example's number; UNREADABLE for an answer that is no label. Who is missing gave none."""
    cost_usd: float = 0.0


class Golden:
    """The part of the ledger that holds golden sets."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def newest(self, task: str) -> GoldenSet | None:
        """The set in use; None where there is none yet."""
        query = select(golden_sets).where(golden_sets.c.task == task).order_by(golden_sets.c.number.desc()).limit(1)
        with self._engine.connect() as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else GoldenSet(**row)

    def examples(self, task: str, number: int) -> list[GoldenExample]:
        """The texts of a set, in their order."""
        query = select(golden_examples).where(*_of(golden_examples, task, number)).order_by(golden_examples.c.number)
        with self._engine.connect() as connection:
            return [
                GoldenExample(row["number"], row["text"], row["label"], row["exchange"])
                for row in connection.execute(query).mappings()
            ]

    def freeze(self, wanted: GoldenSet, examples: Sequence[GoldenExample]) -> bool:
        """Put a set in use, in the place of all older ones. False: somebody has frozen one of that number meanwhile.

        `wanted.number` is one more than that of the set before it.
        """
        task, number = wanted.task, wanted.number
        rows = [asdict(one) | {"task": task, "set": number} for one in examples]
        try:
            with self._engine.begin() as connection:
                connection.execute(insert(golden_sets).values(asdict(wanted)))
                connection.execute(insert(golden_examples), rows)
                for table, column in (
                    (golden_sets, golden_sets.c.number),
                    (golden_examples, golden_examples.c.set),
                    (golden_rounds, golden_rounds.c.set),
                ):
                    connection.execute(delete(table).where(table.c.task == task, column < number))
        except IntegrityError:
            return False
        return True

    def last_round(self, task: str, number: int) -> GoldenRound | None:
        """The newest round of a set, finished or not."""
        query = select(golden_rounds).where(*_of(golden_rounds, task, number))
        with self._engine.connect() as connection:
            row = connection.execute(query.order_by(golden_rounds.c.number.desc()).limit(1)).mappings().first()
        return None if row is None else _round(row)

    def rounds(self, task: str, number: int, since: int = 0) -> list[GoldenRound]:
        """The finished rounds of a set from number `since` on, in their order."""
        query = select(golden_rounds).where(
            *_of(golden_rounds, task, number), golden_rounds.c.number >= since, golden_rounds.c.finished.is_not(None)
        )
        with self._engine.connect() as connection:
            found = connection.execute(query.order_by(golden_rounds.c.number)).mappings().all()
        return [_round(row) for row in found]

    def begin_round(self, task: str, number: int, owner: str, at: float) -> GoldenRound | None:
        """Begin the round after the last one, or go on with one that is under way, whoever began it.

        None: somebody else was faster. A worker that is gone cannot be told from one that is slow, so the caller must
        know that nobody else is at work, by a lease; should that be wrong, `save_round` says so.
        """
        last = self.last_round(task, number)
        if last is not None and last.finished is None:
            claimed = update(golden_rounds).where(*_is(last), golden_rounds.c.owner == last.owner)
            with self._engine.begin() as connection:
                taken = connection.execute(claimed.values(owner=owner)).rowcount == 1
            return replace(last, owner=owner) if taken else None
        begun = GoldenRound(task, number, 0 if last is None else last.number + 1, owner, at)
        try:
            with self._engine.begin() as connection:
                connection.execute(insert(golden_rounds).values(_round_row(begun)))
        except IntegrityError:
            return None
        return begun

    def save_round(self, asked: GoldenRound) -> bool:
        """Write down what a round has learnt so far, or that it is finished. False: another worker has taken it over.

        Of finished rounds the newest `ROUNDS_KEPT` are kept, and the one with which the comparison begins.
        """
        values = {name: _round_row(asked)[name] for name in ("finished", "answers", "cost_usd")}
        mine = update(golden_rounds).where(*_is(asked), golden_rounds.c.owner == asked.owner)
        baseline = select(golden_sets.c.baseline).where(
            golden_sets.c.task == asked.task, golden_sets.c.number == asked.set
        )
        old = delete(golden_rounds).where(
            *_of(golden_rounds, asked.task, asked.set),
            golden_rounds.c.number <= asked.number - ROUNDS_KEPT,
            golden_rounds.c.number != func.coalesce(baseline.scalar_subquery(), -1),
        )
        with self._engine.begin() as connection:
            saved = connection.execute(mine.values(values)).rowcount == 1
            if saved and asked.finished is not None:
                connection.execute(old)
        return saved

    def rebase(self, task: str, number: int, baseline: int) -> None:
        """Compare with the answers of round `baseline` from now on: the teacher is taken as it was then."""
        changed = update(golden_sets).where(golden_sets.c.task == task, golden_sets.c.number == number)
        with self._engine.begin() as connection:
            connection.execute(changed.values(baseline=baseline))

    def drop_examples(self, gone: Callable[[str], bool], task: str | None = None) -> int:
        """Take out the texts of exchanges that must go; returns how many these were. `gone` is asked with an id."""
        columns = golden_examples.c
        query = select(columns.task, columns.set, columns.number, columns.exchange).where(columns.exchange != "")
        if task is not None:
            query = query.where(columns.task == task)
        with self._engine.begin() as connection:
            found = [row for row in connection.execute(query) if gone(row.exchange)]
            for row in found:
                one = update(golden_examples).where(
                    *_of(golden_examples, row.task, row.set), columns.number == row.number
                )
                connection.execute(one.values(text="", exchange=""))
        return len(found)


def _of(table: Table, task: str, number: int) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return table.c.task == task, table.c.set == number


def _is(one: GoldenRound) -> tuple[ColumnElement[bool], ...]:
    """The row of a round that is not finished."""
    columns = golden_rounds.c
    return (*_of(golden_rounds, one.task, one.set), columns.number == one.number, columns.finished.is_(None))


def _round_row(one: GoldenRound) -> dict[str, Any]:
    return asdict(one) | {"answers": json.dumps(dict(one.answers))}


def _round(row: RowMapping) -> GoldenRound:
    answers = {int(number): str(answer) for number, answer in json.loads(row["answers"]).items()}
    return GoldenRound(**dict(row) | {"answers": answers})
