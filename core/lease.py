"""A lease in Redis: of several processes that could do something, one does it.

It tells who should work. It does not make sure that nobody else does: a process that was stopped for a while wakes up
believing in its lease, and a Redis that lost its data gives it away twice. What must happen once is guarded where it is
written.
"""

from __future__ import annotations

import secrets
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

_TAKE: Final = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""

_GIVE_BACK: Final = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""


class Leases:
    """Leases of one process on the Redis at `url`. Every method raises redis.RedisError while Redis is away."""

    def __init__(self, url: str, seconds: float = 15.0) -> None:
        self._redis = Redis.from_url(url, socket_connect_timeout=2.0, socket_timeout=5.0, retry=Retry(NoBackoff(), 0))
        self._milliseconds = int(seconds * 1000)
        self._owner = secrets.token_hex(8)
        self._take = self._redis.register_script(_TAKE)
        self._give_back = self._redis.register_script(_GIVE_BACK)

    async def take(self, name: str) -> bool:
        """Take the lease `name`, or renew it. False: another process holds it."""
        return bool(await _result(self._take(keys=[_key(name)], args=[self._owner, self._milliseconds])))

    async def give_back(self, name: str) -> None:
        """Give the lease up, where it is ours, so that the next one need not wait until it ends."""
        await _result(self._give_back(keys=[_key(name)], args=[self._owner]))

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()


def _key(name: str) -> str:
    return f"tutelage:lease:{name}"


async def _result(answer: Any) -> Any:
    """redis-py types one client for both its synchronous and asynchronous use; this one is asynchronous."""
    return await answer
