"""Keeping limits in step with Redis and the ledger, beside the request path.

Ten times a second the leases that need it are renewed, and what was spent is added up. Every few seconds the sums of
dollars are written into the ledger too: there they outlive a Redis that loses its data, and there the workers add up
what they spend while Redis is away.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable
from typing import Final

import structlog
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from core.errors import StartupError, StateError
from core.ledger import Ledger, Spend
from router.admission.buckets import Bucket
from router.admission.budgets import Budget
from router.admission.leases import LeaseStore, batches
from router.admission.scopes import Scope, Scopes

_log = structlog.get_logger(__name__)

_HEARTBEAT_SECONDS: Final = 1.0
_RETRY_SECONDS: Final = 0.5
_LEDGER_SECONDS: Final = 5.0
_CLEAN_SECONDS: Final = 3600.0
_DAY: Final = 86_400.0


class Keeper:
    """Keeps one worker's scopes in step. `clock` is monotonic, `wall` tells seconds since the epoch."""

    def __init__(
        self,
        scopes: Scopes,
        store: LeaseStore,
        ledger: Ledger,
        *,
        closed: bool,
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self.redis_up = False
        """Whether Redis answered when it was last asked."""
        self.ledger_up = False
        """Whether the ledger took the sums when they were last written."""
        self._scopes = scopes
        self._store = store
        self._ledger = ledger
        self._closed = closed
        self._clock = clock
        self._wall = wall
        self._over: list[Budget] = []
        self._found: dict[tuple[str, str], float] | None = None
        self._heard = False
        self._said_up: bool | None = None
        self._said_unwritten = False
        self._midnight = _midnight_after(wall())
        self._next_redis = -math.inf
        self._next_heartbeat = -math.inf
        self._next_ledger = -math.inf
        self._next_clean = -math.inf

    def adopt(self, scope: Scope) -> None:
        """Let a scope whose limits are new know what is known already."""
        self._scopes.wake(scope)
        for budget in scope.budgets:
            self._seed(budget)
        if not self.redis_up:
            self._alone(scope)

    async def sync(self) -> None:
        """Do once whatever is due. Where Redis or the ledger is away, that is logged, and nothing is raised."""
        self._turn()
        await self._sync_redis()
        if not self.redis_up:
            for scope in self._scopes.awake.values():
                self._alone(scope)
        if self._clock() >= self._next_ledger:
            self._next_ledger = self._clock() + _LEDGER_SECONDS
            await self._sync_ledger()
            self._scopes.forget(self._clock())

    async def close(self) -> None:
        """Give every lease back, book what was spent, and close the connections."""
        try:
            await self._renew([pair for pair in _buckets(self._scopes) if not pair[0].is_idle], release=True)
            await self._add_up([budget for budget in self._budgets() if not budget.is_booked])
            await self._store.leave()
        except (RedisError, OSError) as error:
            self._away(error)
        await self._sync_ledger()
        await self._store.close()

    def _turn(self) -> None:
        """Days and months begin at midnight (UTC)."""
        today = self._wall()
        if today >= self._midnight:
            self._midnight = _midnight_after(today)
            self._over += [budget for scope in self._scopes for budget in scope.turn(today)]

    async def _sync_redis(self) -> None:
        now = self._clock()
        if not self.redis_up and now < self._next_redis:
            return
        try:
            await self._exchange(now)
        except (RedisError, OSError) as error:
            self._next_redis = self._clock() + _RETRY_SECONDS
            self._away(error)
        else:
            self._back()

    async def _exchange(self, now: float) -> None:
        if not self.redis_up or now >= self._next_heartbeat:
            await self._store.renew([])
            self._heard = True
            self._next_heartbeat = now + _HEARTBEAT_SECONDS
        awake = list(self._scopes.awake.values())
        await self._renew([pair for pair in _buckets(awake) if pair[0].is_due(now)], release=False)
        due = [budget for scope in awake for budget in scope.budgets if budget.is_due(now)]
        await self._add_up([*self._over, *due])
        for scope in awake:
            if all(bucket.is_idle for bucket in scope.buckets) and all(budget.is_booked for budget in scope.budgets):
                self._scopes.rest(scope)

    async def _renew(self, due: list[tuple[Bucket, Scope]], *, release: bool) -> None:
        for batch in batches(due):
            now = self._clock()
            reports = [
                (f"{scope.id}:{bucket.dimension}", bucket.capacity, bucket.report(now, release=release))
                for bucket, scope in batch
            ]
            leases = await self._store.renew(reports)
            now = self._clock()
            for (bucket, _), (_, _, report), lease in zip(batch, reports, leases, strict=True):
                bucket.renew(report, lease, self._store.workers, self._store.seconds, now)

    async def _add_up(self, budgets: list[Budget]) -> None:
        for batch in batches(budgets):
            outlays = [budget.outlay() for budget in batch]
            for budget, outlay, known in zip(batch, outlays, await self._store.spend(outlays), strict=True):
                budget.learn(known, outlay.spent)
                budget.told(self._clock())

    async def _sync_ledger(self) -> None:
        """Write the sums down; while Redis is away, add them up there."""
        away = not self.redis_up
        changed = [budget for budget in self._budgets() if budget.unwritten]
        outlays = [budget.outlay() for budget in changed]
        for budget in changed:
            budget.unwritten = False
        entries = [
            Spend(each.scope, each.period, each.ends, each.known, each.spent - each.booked if away else 0.0)
            for each in outlays
        ]
        try:
            sums = await asyncio.to_thread(self._write, entries)
        except (SQLAlchemyError, StartupError, StateError) as error:
            for budget in changed:
                budget.unwritten = True
            if not self._said_unwritten:
                _log.warning("spend_not_written", error=str(error), effect="budgets rest on Redis and on memory alone")
            self.ledger_up, self._said_unwritten = False, True
            return
        self.ledger_up, self._said_unwritten = True, False
        for budget, outlay, known in zip(changed, outlays, sums, strict=True):
            budget.learn(known, outlay.spent if away else None)
        for budget in self._budgets():
            self._seed(budget)
        self._over = [budget for budget in self._over if budget.unwritten or not budget.is_booked]

    def _write(self, entries: list[Spend]) -> list[float]:
        now = self._wall()
        if self._found is None:
            self._ledger.migrate()
            self._found = self._ledger.spend.current(now)
        if self._clock() >= self._next_clean:
            self._ledger.spend.forget(now)
            self._next_clean = self._clock() + _CLEAN_SECONDS
        return self._ledger.spend.book(entries)

    def _seed(self, budget: Budget) -> None:
        """Let a budget know what the ledger held when this worker began."""
        known = self._found.get((budget.scope, budget.name)) if self._found else None
        if known:
            budget.learn(known)

    def _budgets(self) -> Iterable[Budget]:
        yield from self._over
        for scope in self._scopes:
            yield from scope.budgets

    def _alone(self, scope: Scope) -> None:
        now = self._clock()
        for bucket in scope.buckets:
            bucket.without_redis(now, closed=self._closed)
        if self._closed:
            for budget in scope.budgets:
                budget.without_redis(self._store.workers if self._heard else math.inf)

    def _away(self, error: Exception) -> None:
        if self._said_up is not False:
            effect = "what has a limit is refused" if self._closed else "each worker keeps limits by itself"
            _log.warning("limits_without_redis", error=str(error) or type(error).__name__, effect=effect)
        self.redis_up = self._said_up = False
        for scope in self._scopes:
            self._alone(scope)

    def _back(self) -> None:
        if not self.redis_up:
            _log.info("limits_with_redis", workers=self._store.workers)
            for scope in self._scopes:
                self._scopes.wake(scope)
        self.redis_up = self._said_up = True


def _buckets(scopes: Iterable[Scope]) -> list[tuple[Bucket, Scope]]:
    return [(bucket, scope) for scope in scopes for bucket in scope.buckets]


def _midnight_after(now: float) -> float:
    return (now // _DAY + 1) * _DAY
