"""What was told to whom about an alarm, so that nothing is told twice without need, and nothing forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, insert, select, update
from sqlalchemy.exc import IntegrityError

from core.ledger.tables import notifications


@dataclass(frozen=True, slots=True)
class Notification:
    """One message about an alarm, to one channel. Times are seconds since the epoch."""

    alarm: str
    event: str
    """`opened`, `escalated` or `resolved`."""
    channel: str
    attempts: int
    """How many have failed; `tried`: when the last one was made."""
    tried: float
    sent: float | None
    """When it was delivered; None: it has not been yet."""
    error: str
    """Why the last attempt failed. Holds no secrets."""


class Notifications:
    """The notifications' part of the ledger. One process at a time should send; two do no harm but to tell twice."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def about(self, alarms: Sequence[str]) -> dict[tuple[str, str, str], Notification]:
        """All messages about these alarms, by alarm, event and channel."""
        query = select(notifications).where(notifications.c.alarm.in_(list(alarms)))
        with self._engine.connect() as connection:
            found = [Notification(**row) for row in connection.execute(query).mappings()]
        return {(one.alarm, one.event, one.channel): one for one in found}

    def sent(self, alarm: str, event: str, channel: str, at: float) -> None:
        """Note that a message was delivered."""
        self._write((alarm, event, channel), {"tried": at, "sent": at, "error": ""}, 0)

    def failed(self, alarm: str, event: str, channel: str, at: float, error: str) -> None:
        """Note that an attempt failed."""
        self._write((alarm, event, channel), {"tried": at, "error": error}, 1)

    def _write(self, key: tuple[str, str, str], values: dict[str, Any], failures: int) -> None:
        table = notifications
        names = dict(zip(("alarm", "event", "channel"), key, strict=True))
        known = (table.c.alarm == key[0]) & (table.c.event == key[1]) & (table.c.channel == key[2])
        change = update(table).where(known).values(**values, attempts=table.c.attempts + failures)
        with self._engine.begin() as connection:
            if connection.execute(change).rowcount:
                return
        try:
            with self._engine.begin() as connection:
                connection.execute(insert(table).values({"sent": None} | names | values | {"attempts": failures}))
        except IntegrityError:  # somebody else was faster
            with self._engine.begin() as connection:
                connection.execute(change)
