"""Redis' side of the limits: leases of buckets, and sums of dollars."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, Final, TypeVar

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from router.admission.buckets import Lease, Report
from router.admission.budgets import Outlay
from router.admission.scripts import RENEW, SPEND

_PREFIX: Final = "tutelage:limits"
_WORKERS: Final = f"{_PREFIX}:workers"
_IN_ONE_CALL: Final = 100
"""Buckets or sums in one call, which holds Redis up for about a millisecond."""
_KEPT_SECONDS: Final = 86_400
_MINUTE: Final = 60.0

_T = TypeVar("_T")


class LeaseStore:
    """The leases of one worker on the Redis at `url`. Every method raises redis.RedisError while Redis is away.

    A lease that is not renewed ends by itself after `seconds`; then what was left of it goes back.
    """

    def __init__(self, url: str, seconds: float) -> None:
        self._redis = Redis.from_url(url, socket_connect_timeout=1.0, socket_timeout=1.0, retry=Retry(NoBackoff(), 0))
        self._renew = self._redis.register_script(RENEW)
        self._spend = self._redis.register_script(SPEND)
        self.seconds = seconds
        self._worker = secrets.token_hex(6)
        self.workers = 1
        """Workers that Redis has heard of within a lease's time, this one included."""

    async def renew(self, reports: Sequence[tuple[str, float, Report]]) -> list[Lease]:
        """Report on buckets, each with its name and capacity; returns their leases.

        Without any bucket it only says that this worker lives.
        """
        arguments: list[str | float] = [self._worker, self.seconds]
        for _, capacity, report in reports:
            arguments += [capacity, capacity / _MINUTE, report.own, report.held, report.demand, int(report.release)]
        names = [f"{_PREFIX}:bucket:{name}" for name, _, _ in reports]
        workers, *numbers = await _result(self._renew(keys=[_WORKERS, *names], args=arguments))
        self.workers = max(int(workers), 1)
        values = iter(float(number) for number in numbers)
        return [Lease(*four) for four in zip(values, values, values, values, strict=True)]

    async def spend(self, outlays: Sequence[Outlay]) -> list[float]:
        """Add up what was spent; returns what all have spent, in order."""
        arguments: list[str | float] = []
        for each in outlays:
            arguments += [each.source, each.known, each.booked, each.spent, int(each.ends) + _KEPT_SECONDS]
        names = [f"{_PREFIX}:spend:{each.scope}:{each.period}" for each in outlays]
        return [float(sum_) for sum_ in await _result(self._spend(keys=names, args=arguments))]

    async def leave(self) -> None:
        """Say that this worker is no more."""
        await _result(self._redis.zrem(_WORKERS, self._worker))

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()


def batches(items: Sequence[_T]) -> list[Sequence[_T]]:
    """Cut what goes to Redis into calls of a bearable size."""
    return [items[start : start + _IN_ONE_CALL] for start in range(0, len(items), _IN_ONE_CALL)]


async def _result(answer: Any) -> Any:
    """redis-py types one client for both its synchronous and asynchronous use; this one is asynchronous."""
    return await answer
