"""Canaries: which challenger answers which share of a task's live requests. One row a task; no row: none does."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from sqlalchemy import Engine, delete, insert, select
from sqlalchemy.exc import IntegrityError

from core.ledger.tables import canaries


@dataclass(frozen=True, slots=True)
class Canary:
    """A challenger's share of live requests."""

    task: str
    version: str
    share: float
    """Of users, or of requests that name none; in (0, 1)."""
    at: float
    """When it began, in seconds since the epoch."""


class Canaries:
    """The canaries' part of the ledger."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def begin(self, canary: Canary) -> Canary:
        """Give a version its share, in the place of another version; returns what stands.

        That of a version which has one already stays as it is, so this may be called twice.
        """
        other = delete(canaries).where(canaries.c.task == canary.task, canaries.c.version != canary.version)
        try:
            with self._engine.begin() as connection:
                connection.execute(other)
                connection.execute(insert(canaries).values(asdict(canary)))
        except IntegrityError:
            return self.get(canary.task) or self.begin(canary)
        return canary

    def end(self, task: str, version: str | None = None) -> bool:
        """Give the champion all requests of a task again. False: it had them, or `version` is another challenger."""
        ended = delete(canaries).where(canaries.c.task == task)
        if version is not None:
            ended = ended.where(canaries.c.version == version)
        with self._engine.begin() as connection:
            return connection.execute(ended).rowcount == 1

    def get(self, task: str) -> Canary | None:
        """The canary of a task; None where there is none."""
        with self._engine.connect() as connection:
            row = connection.execute(select(canaries).where(canaries.c.task == task)).mappings().first()
        return None if row is None else Canary(**row)

    def all(self) -> dict[str, Canary]:
        """The canaries by task."""
        with self._engine.connect() as connection:
            return {row["task"]: Canary(**row) for row in connection.execute(select(canaries)).mappings()}
