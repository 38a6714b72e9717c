"""Thresholds: for each version, the confidence below which the teacher answers, where a target of agreement is set."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import inf

from sqlalchemy import Engine, delete, insert, select

from core.ledger.tables import thresholds


@dataclass(frozen=True, slots=True)
class Threshold:
    """The lowest confidence from which on a version's answers have been shown to agree often enough."""

    task: str
    version: str
    confidence: float | None
    """None: none has been shown to, so the version answers nothing."""
    target: float
    """Agreement with the teacher that is asked for."""
    evidence: str
    """For a person: what it rests on."""
    at: float
    """Seconds since the epoch."""


class Thresholds:
    """The thresholds' part of the ledger."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def get(self, task: str, version: str) -> Threshold | None:
        """The threshold of a version; None where it was judged without a target."""
        query = select(thresholds).where(thresholds.c.task == task, thresholds.c.version == version)
        with self._engine.connect() as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else Threshold(**row)

    def confidences(self, task: str) -> dict[str, float]:
        """The confidences by version; infinite where none is enough."""
        query = select(thresholds.c.version, thresholds.c.confidence).where(thresholds.c.task == task)
        with self._engine.connect() as connection:
            return {version: inf if value is None else value for version, value in connection.execute(query)}

    def replace(self, task: str, version: str, threshold: Threshold | None) -> None:
        """Write down the threshold of a version in the place of the one before; None: it has none.

        Raises ValueError where it is about another task or version.
        """
        if threshold is not None and (threshold.task, threshold.version) != (task, version):
            raise ValueError(f"the threshold is not about {task} {version}")
        with self._engine.begin() as connection:
            connection.execute(delete(thresholds).where(thresholds.c.task == task, thresholds.c.version == version))
            if threshold is not None:
                connection.execute(insert(thresholds).values(asdict(threshold)))
