"""Consumer groups: several workers share a stream, and what one of them was given when it died goes to another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from core.journal.entries import Entry, by_stream, result, text, to_entry

# KEYS: stream. ARGV: group, consumer, milliseconds. In one step, since removing a consumer drops what it was given.
_LEAVE: Final = """
for _, info in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local of = {}
  for i = 1, #info, 2 do of[info[i]] = info[i + 1] end
  if of['pending'] == 0 and (of['name'] == ARGV[2] or of['idle'] >= tonumber(ARGV[3])) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], of['name'])
  end
end
return 1
"""


class ConsumerGroup:
    """A group of a stream, as one of its consumers sees it.

    Every method raises redis.RedisError while Redis is away. Redis forgets a group together with its data: then they
    raise redis.ResponseError (NOGROUP), and one joins again.
    """

    def __init__(self, redis: Redis, stream: str, name: str, consumer: str) -> None:
        """`consumer` is a name of one life of one worker."""
        self.stream = stream
        self._redis = redis
        self._name = name
        self._consumer = consumer
        self._leave = redis.register_script(_LEAVE)

    async def join(self) -> None:
        """Create the group, which begins at the stream's start, unless it is there."""
        try:
            await result(self._redis.xgroup_create(self.stream, self._name, id="0", mkstream=True))
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    async def read(self, count: int = 16, block_ms: int | None = None) -> list[Entry]:
        """Up to `count` entries that nobody in the group was given yet; they are ours until acknowledged.

        Waits up to `block_ms` milliseconds for the first.
        """
        new = cast("Any", {self.stream: ">"})
        found = await result(self._redis.xreadgroup(self._name, self._consumer, new, count=count, block=block_ms))
        return by_stream(found).get(self.stream, [])

    async def acknowledge(self, ids: Sequence[str]) -> None:
        """Say that these entries are done with."""
        if ids:
            await result(self._redis.xack(self.stream, self._name, *ids))

    async def keep(self, ids: Sequence[str]) -> None:
        """Say that we are still at work on these entries, so that nobody claims them."""
        if ids:
            wanted = cast("Any", list(ids))
            await result(self._redis.xclaim(self.stream, self._name, self._consumer, 0, wanted, justid=True))

    async def claim(self, idle_ms: int, count: int = 16) -> tuple[list[Entry], int]:
        """Take over up to `count` entries whose consumers have not been heard of for `idle_ms` milliseconds.

        Returns them, and how many more were trimmed from the stream before anybody was done with them. (XAUTOCLAIM
        would be one command instead of two, but Redis 6.2's does not say which entries are gone.)
        """
        waiting = await result(self._redis.xpending_range(self.stream, self._name, "-", "+", count, idle=idle_ms))
        ids = [text(item["message_id"]) for item in waiting]
        if not ids:
            return [], 0
        wanted = cast("Any", ids)
        claimed = await result(self._redis.xclaim(self.stream, self._name, self._consumer, idle_ms, wanted))
        entries = [to_entry(identifier, fields) for identifier, fields in claimed if fields]
        gone = [identifier for identifier in ids if not await self._exists(identifier, entries)]
        await self.acknowledge(gone)
        return entries, len(gone)

    async def pending(self) -> int:
        """Entries that were given to somebody and are not acknowledged."""
        return int((await result(self._redis.xpending(self.stream, self._name)))["pending"])

    async def leave(self, idle_ms: int) -> None:
        """Remove us, and others not heard of for `idle_ms` milliseconds; but nobody who has something left to do."""
        await self._leave(keys=[self.stream], args=[self._name, self._consumer, idle_ms])

    async def _exists(self, identifier: str, claimed: Sequence[Entry]) -> bool:
        if any(entry.id == identifier for entry in claimed):
            return True
        return bool(await result(self._redis.xrange(self.stream, identifier, identifier)))
