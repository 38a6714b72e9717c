"""What a key or a task has spent in a day or a month, and whether more may be spent.

What an answer costs is known afterwards, so a budget is spent once the sum has reached it, and what is under way then
is still paid. Each worker knows what all have spent up to its last exchange with Redis, and its own spending since.
"""

from __future__ import annotations

import math
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

Period = Literal["day", "month"]

_FAST_SECONDS: Final = 0.1
_SLOW_SECONDS: Final = 0.5
_NEARLY: Final = 0.9


@dataclass(frozen=True, slots=True)
class Outlay:
    """What a worker tells Redis of a budget."""

    scope: str
    period: str
    source: str
    """Who spends: unique to a `Budget`, so that no two count as one."""
    ends: float
    known: float
    """Dollars that the worker knows to be spent by all, its own up to `booked` included."""
    booked: float
    spent: float
    """Dollars that it has spent itself in this period; never less than before."""


class Budget:
    """A budget in dollars over one period, as one worker sees it. Times are seconds since the epoch."""

    __slots__ = (
        "_booked",
        "_known",
        "_mine",
        "_source",
        "_told_at",
        "ceiling",
        "dimension",
        "ends",
        "limit",
        "name",
        "scope",
        "spent",
        "unwritten",
    )

    def __init__(self, scope: str, dimension: Period, limit: float, now: float) -> None:
        self.scope = scope
        self.dimension = dimension
        self.limit = limit
        self.name, self.ends = _period(dimension, now)
        self.spent = 0.0
        """Dollars, by everybody, as far as this worker knows."""
        self.ceiling = limit
        """Where this is reached nothing more may be spent: the limit, or less while Redis is away."""
        self.unwritten = False
        """The ledger does not know the sum yet."""
        self._source = secrets.token_hex(6)
        self._told_at = -math.inf
        self._known = 0.0
        self._booked = 0.0
        self._mine = 0.0

    def spend(self, dollars: float) -> None:
        """Count what an answer has cost."""
        self.spent += dollars
        self._mine += dollars
        self.unwritten = True

    @property
    def is_booked(self) -> bool:
        """Whether others know of everything that this worker has spent."""
        return self._mine == self._booked

    def is_due(self, now: float) -> bool:
        """Whether it is time to tell Redis: soon where little is left, else now and then. `now` is monotonic."""
        return now - self._told_at >= (_FAST_SECONDS if self.spent >= _NEARLY * self.ceiling else _SLOW_SECONDS)

    def outlay(self) -> Outlay:
        """What to tell Redis."""
        return Outlay(self.scope, self.name, self._source, self.ends, self._known, self._booked, self._mine)

    def told(self, now: float) -> None:
        """Redis has been told."""
        self._told_at = now
        self.ceiling = self.limit

    def learn(self, known: float, booked: float | None = None) -> None:
        """Take over the sum of what all have spent, of which `booked` dollars are this worker's (None: as before)."""
        if known > self._known:
            self._known = known
            self.unwritten = True
        if booked is not None:
            self._booked = booked
        self.spent = self._known + (self._mine - self._booked)

    def without_redis(self, workers: float) -> None:
        """Redis is away, and nobody may overdraw: this worker spends its part of what was left, no more."""
        if self.ceiling == self.limit:
            self.ceiling = self._known + max(self.limit - self._known, 0.0) / workers

    def resize(self, limit: float) -> None:
        """Another limit from now on."""
        self.limit = self.ceiling = limit


def _period(dimension: Period, now: float) -> tuple[str, float]:
    """The name and the end of the period (UTC) in which `now` lies."""
    moment = datetime.fromtimestamp(now, UTC)
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    if dimension == "day":
        return midnight.strftime("%Y-%m-%d"), (midnight + timedelta(days=1)).timestamp()
    first = midnight.replace(day=1)
    return first.strftime("%Y-%m"), (first + timedelta(days=32)).replace(day=1).timestamp()
