"""Snapshots: the state of who reads the journal, with the position up to which it has read. They move together.

A snapshot has a revision, and is replaced only by who knows the last one: of two readers that both believe to be alone,
one finds that it is not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, insert, select, update
from sqlalchemy.exc import IntegrityError

from core.ledger.tables import snapshots


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A state, and where in the journal it stands."""

    revision: int
    position: dict[str, Any]
    state: bytes
    at: float
    """When it was written, in seconds since the epoch."""


class Snapshots:
    """The snapshots' part of the ledger."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def load(self, task: str, name: str) -> Snapshot | None:
        """The snapshot of a task's reader `name`, or None."""
        query = select(snapshots).where(snapshots.c.task == task, snapshots.c.name == name)
        with self._engine.connect() as connection:
            row = connection.execute(query).first()
        return None if row is None else Snapshot(row.revision, json.loads(row.position), row.state, row.at)

    def save(self, task: str, name: str, *, after: int, position: Mapping[str, Any], state: bytes, at: float) -> bool:
        """Replace the snapshot of revision `after` (0: there is none yet) by the next, state and position together.

        False: it has another revision; somebody else reads as well, and nothing is written.
        """
        values = {"revision": after + 1, "position": json.dumps(dict(position)), "state": state, "at": at}
        try:
            with self._engine.begin() as connection:
                if after == 0:
                    connection.execute(insert(snapshots).values(task=task, name=name, **values))
                    return True
                statement = update(snapshots).where(
                    snapshots.c.task == task, snapshots.c.name == name, snapshots.c.revision == after
                )
                return connection.execute(statement.values(values)).rowcount == 1
        except IntegrityError:
            return False
