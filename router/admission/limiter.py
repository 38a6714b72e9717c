"""Rate limits and budgets, of keys and of tasks.

Everything that `admit` needs stands in memory; `run` keeps it in step with Redis and the ledger. How rates are divided
among workers is explained in `buckets`, how dollars are added up in `budgets`; docs/limits.md says what exactly holds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Final, Literal

from core.errors import ApiError
from core.journal import is_cancelled
from core.ledger import ApiKey, Ledger
from core.limits import NO_LIMITS, Limits
from core.settings import Settings
from router.admission.buckets import Bucket
from router.admission.budgets import Budget
from router.admission.grants import UNLIMITED, Grant
from router.admission.keeper import Keeper
from router.admission.leases import LeaseStore
from router.admission.refusals import refusal
from router.admission.scopes import Kind, Scope, Scopes

LEASE_SECONDS: Final = 10.0
"""How long a lease lasts that is not renewed: so long after a worker was killed, its share is free again."""

_TICK_SECONDS: Final = 0.1


class Limiter:
    """The limits of one worker. For one event loop."""

    def __init__(
        self,
        tasks: Mapping[str, Limits],
        redis_url: str,
        ledger: Ledger,
        *,
        without_redis: Literal["open", "closed"] = "open",
        lease_seconds: float = LEASE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`tasks` holds each task's limits over all keys. Nothing is read yet: see `sync` and `run`.

        `clock` is monotonic, `wall` tells seconds since the epoch; both in seconds.
        """
        self.refused: dict[tuple[str, str], int] = {}
        """Refused requests, by kind of scope (`key`, `task`) and what forbade it (`requests`, `tokens`, `day`,
        `month`)."""
        self._clock = clock
        self._wall = wall
        self._scopes = Scopes()
        self._store = LeaseStore(redis_url, lease_seconds)
        self._keeper = Keeper(
            self._scopes, self._store, ledger, closed=without_redis == "closed", clock=clock, wall=wall
        )
        for name, limits in tasks.items():
            if limits != NO_LIMITS:
                self._scopes.tasks[name] = self._new_scope("task", name, name, limits)

    @classmethod
    def from_settings(cls, settings: Settings, ledger: Ledger) -> Limiter:
        """The limiter that the settings describe."""
        tasks = {name: task.limits.limits() for name, task in settings.tasks.items()}
        return cls(tasks, settings.redis.address, ledger, without_redis=settings.gateway.limits_without_redis)

    @property
    def redis_up(self) -> bool:
        """Whether Redis answered when it was last asked."""
        return self._keeper.redis_up

    @property
    def ledger_up(self) -> bool:
        """Whether the ledger took the sums of dollars when they were last written."""
        return self._keeper.ledger_up

    @property
    def workers(self) -> int:
        """Workers that share the limits, this one included, as Redis last said."""
        return self._store.workers

    @property
    def keys(self) -> int:
        """Keys of which something is kept in memory."""
        return len(self._scopes.keys)

    def admit(self, key: ApiKey | None, task: str, tokens: int) -> Grant:
        """Admit a request of a key to a task, expected to use so many tokens, prompt and answer together.

        Both allow it, or nothing is taken. Without any limit it returns UNLIMITED.

        Raises RateLimitedError with the seconds to wait, QuotaExceededError where a budget is spent, UnavailableError
        where limits cannot be checked and the settings say `closed`.
        """
        other = self._scopes.tasks.get(task)
        if key is None or key.limits == NO_LIMITS:
            if other is None:
                return UNLIMITED
            scopes: tuple[Scope, ...] = (other,)
        else:
            scope = self._scopes.keys.get(key.id)
            if scope is None or scope.limits is not key.limits:
                scope = self._scope_of(key)
            scopes = (scope,) if other is None else (scope, other)
        now = self._clock()
        for scope in scopes:
            if not scope.awake:
                self._scopes.wake(scope)
            obstacle = scope.admit(tokens, now)
            if obstacle is not None:
                for earlier in scopes[: scopes.index(scope)]:
                    earlier.give_back(tokens)
                raise self._refusal(scopes, scope, obstacle, tokens)
        return Grant(scopes, tokens, self._scopes.wake)

    async def sync(self) -> None:
        """Do once what `run` does again and again: before the first request, so that the limits are known."""
        await self._keeper.sync()

    async def run(self) -> None:
        """Keep in step with Redis and the ledger until cancelled; neither being away ends it."""
        while not is_cancelled():
            await self._keeper.sync()
            await asyncio.sleep(_TICK_SECONDS)

    async def close(self) -> None:
        """Give leases back, book what was spent, close the connections. `run` must have ended."""
        await self._keeper.close()

    def _scope_of(self, key: ApiKey) -> Scope:
        """A key that is new here, or was read anew."""
        scope = self._scopes.keys.get(key.id)
        if scope is None:
            scope = self._scopes.keys[key.id] = self._new_scope("key", key.id, key.name, key.limits)
        elif scope.limits == key.limits:
            scope.limits = key.limits
        else:
            self._change(scope, key.limits)
        return scope

    def _new_scope(self, kind: Kind, identifier: str, name: str, limits: Limits) -> Scope:
        scope = Scope(kind, identifier, name)
        self._change(scope, limits)
        return scope

    def _change(self, scope: Scope, limits: Limits) -> None:
        scope.change(limits, self._store.workers, self._clock(), self._wall())
        self._keeper.adopt(scope)

    def _refusal(self, scopes: tuple[Scope, ...], scope: Scope, obstacle: Bucket | Budget, tokens: int) -> ApiError:
        counted = (scope.kind, obstacle.dimension)
        self.refused[counted] = self.refused.get(counted, 0) + 1
        if isinstance(obstacle, Bucket):
            obstacle.wanted += 1 if obstacle.dimension == "requests" else min(tokens, obstacle.capacity)
        return refusal(scopes, scope, obstacle, tokens, self._clock())
