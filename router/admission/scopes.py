"""A scope is a key or a task: whatever has limits of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from core.limits import Limits
from router.admission.buckets import Bucket, Dimension
from router.admission.budgets import Budget, Period

Kind = Literal["key", "task"]


class Scope:
    """A key's or a task's limits and what is left of them, as one worker sees it."""

    __slots__ = ("awake", "budgets", "id", "kind", "limits", "name", "requests", "tokens", "under_way")

    def __init__(self, kind: Kind, identifier: str, name: str) -> None:
        self.kind = kind
        self.name = name
        """For a person."""
        self.id = f"{kind}:{identifier}"
        self.limits = Limits()
        self.requests: Bucket | None = None
        self.tokens: Bucket | None = None
        self.budgets: tuple[Budget, ...] = ()
        self.under_way = 0
        """Requests admitted and not yet settled."""
        self.awake = False
        """It is on the list of those that are kept in step with Redis."""

    def change(self, limits: Limits, workers: int, now: float, today: float) -> None:
        """Take limits over; what was used so far still counts. `now` is monotonic, `today` since the epoch."""
        self.requests = _resized(self.requests, "requests", limits.requests_per_minute, workers, now)
        self.tokens = _resized(self.tokens, "tokens", limits.tokens_per_minute, workers, now)
        wanted: tuple[tuple[Period, float | None], ...] = (
            ("day", limits.dollars_per_day),
            ("month", limits.dollars_per_month),
        )
        before = {budget.dimension: budget for budget in self.budgets}
        budgets = []
        for period, limit in wanted:
            if limit is not None:
                budget = before.get(period) or Budget(self.id, period, limit, today)
                budget.resize(limit)
                budgets.append(budget)
        self.budgets = tuple(budgets)
        self.limits = limits

    @property
    def buckets(self) -> tuple[Bucket, ...]:
        """Its buckets."""
        return tuple(bucket for bucket in (self.requests, self.tokens) if bucket is not None)

    def admit(self, tokens: float, now: float) -> Bucket | Budget | None:
        """Use a request and its tokens; or use nothing, and return what forbids it."""
        for budget in self.budgets:
            if budget.spent >= budget.ceiling:
                return budget
        requests, bucket = self.requests, self.tokens
        if requests is not None and not requests.admit(1.0, now):
            return requests
        if bucket is not None and not bucket.admit(tokens, now):
            if requests is not None:
                requests.take(-1.0)
            return bucket
        self.under_way += 1
        return None

    def give_back(self, tokens: float) -> None:
        """Undo `admit`."""
        self.under_way -= 1
        if self.requests is not None:
            self.requests.take(-1.0)
        if self.tokens is not None:
            self.tokens.take(-tokens)

    def settle(self, more: float, dollars: float) -> None:
        """A request is over that took so many tokens more (or less, below 0) than were foreseen."""
        self.under_way -= 1
        bucket = self.tokens
        if bucket is not None and more:
            bucket.take(more)
        if dollars:
            for budget in self.budgets:
                budget.spend(dollars)

    def seconds_until(self, tokens: float, now: float) -> float:
        """How long until the rates let such a request pass; infinite: never."""
        units = ((self.requests, 1.0), (self.tokens, tokens))
        return max((bucket.seconds_until(need, now) for bucket, need in units if bucket is not None), default=0.0)

    def turn(self, today: float) -> list[Budget]:
        """Begin anew the budgets whose day or month is over; returns those that were closed."""
        over = [budget for budget in self.budgets if today >= budget.ends]
        if over:
            self.budgets = tuple(
                Budget(self.id, budget.dimension, budget.limit, today) if budget in over else budget
                for budget in self.budgets
            )
        return over

    def is_forgettable(self, now: float) -> bool:
        """Whether a new scope would know as much. One that has spent something in a period does not forget it."""
        return (
            not self.awake
            and not self.under_way
            and all(bucket.is_forgettable(now) for bucket in self.buckets)
            and all(budget.spent == 0.0 for budget in self.budgets)
        )


class Scopes:
    """All scopes that this worker knows: tasks with limits, and the keys that have been seen of late."""

    def __init__(self) -> None:
        self.keys: dict[str, Scope] = {}
        """By the key's id."""
        self.tasks: dict[str, Scope] = {}
        """By the task's name."""
        self.awake: dict[str, Scope] = {}
        """Those that Redis is to hear of, by their own id."""

    def __iter__(self) -> Iterator[Scope]:
        yield from self.keys.values()
        yield from self.tasks.values()

    def wake(self, scope: Scope) -> None:
        """Something was asked of a scope."""
        scope.awake = True
        self.awake[scope.id] = scope

    def rest(self, scope: Scope) -> None:
        """Redis knows all of it; nothing need be said until it is woken."""
        scope.awake = False
        del self.awake[scope.id]

    def forget(self, now: float) -> None:
        """Drop the keys of which a new scope would know as much."""
        for name in [name for name, scope in self.keys.items() if scope.is_forgettable(now)]:
            del self.keys[name]


def _resized(
    bucket: Bucket | None, dimension: Dimension, capacity: int | None, workers: int, now: float
) -> Bucket | None:
    if capacity is None:
        return None
    if bucket is None:
        return Bucket(dimension, capacity, workers, now)
    bucket.resize(capacity)
    return bucket
