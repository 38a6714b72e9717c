"""The streams, and the positions kept beside them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Final, Self, cast

import msgspec
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError

from core.journal.entries import Entry, by_stream, order_of, result, text
from core.journal.group import ConsumerGroup
from core.locallog import Frame

START: Final = "0-0"
"""Before every entry."""

_STREAMS: Final = "tutelage:streams"
_SHIPPED: Final = "tutelage:shipped"
_ARCHIVED: Final = "tutelage:archived"
_RECORDS: Final = "tutelage:records"
_EPOCH: Final = "tutelage:epoch"
_WRITING: Final = ("aof_rewrite_in_progress", "aof_rewrite_scheduled", "rdb_bgsave_in_progress")
# KEYS: shipped, streams, records, then the streams. ARGV: source, its position as the caller knows it, its new one,
# then for each stream the last offset, the number of records, and the batch. Returns the position that then holds.
_SHIP: Final = """
local position = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if position ~= ARGV[2] then return position end
for i = 4, #KEYS do
  local a = 4 + (i - 4) * 3
  local total = redis.call('HINCRBY', KEYS[3], KEYS[i], ARGV[a + 1])
  redis.call('XADD', KEYS[i], '*', 's', ARGV[1], 'o', ARGV[a], 'n', ARGV[a + 1], 'c', total, 'b', ARGV[a + 2])
  redis.call('SADD', KEYS[2], KEYS[i])
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return ARGV[3]
"""

# KEYS: stream. ARGV: pairs of an entry's id and its new batch, in order. An entry cannot be changed, so those from the
# first one on are taken out and put back under their own ids, for which the stream's last id is turned back; groups,
# and what they have pending, know entries by their ids. Redis 7 has two counters more, which are put back as well.
_REPLACE: Final = """
local tail = redis.call('XRANGE', KEYS[1], ARGV[1], '+')
if #tail == 0 then return 0 end
local info, new, last, replaced = {}, {}, '0-1', 0
local told = redis.call('XINFO', 'STREAM', KEYS[1])
for i = 1, #told, 2 do info[told[i]] = told[i + 1] end
local added, deleted = info['entries-added'], info['max-deleted-entry-id']
if deleted == '0-0' then deleted = '0-1' end  -- 0-0 would leave it as XDEL has set it
local function turn(id, count, gone)
  if added then
    redis.call('XSETID', KEYS[1], id, 'ENTRIESADDED', count, 'MAXDELETEDID', gone)
  else
    redis.call('XSETID', KEYS[1], id)
  end
end
for i = 1, #ARGV, 2 do new[ARGV[i]] = ARGV[i + 1] end
for _, entry in ipairs(tail) do redis.call('XDEL', KEYS[1], entry[1]) end
local before = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
if #before > 0 then last = before[1][1] end
turn(last, redis.call('XLEN', KEYS[1]), '0-1')
for _, entry in ipairs(tail) do
  local fields = entry[2]
  if new[entry[1]] then
    replaced = replaced + 1
    for i = 1, #fields, 2 do if fields[i] == 'b' then fields[i + 1] = new[entry[1]] end end
  end
  redis.call('XADD', KEYS[1], entry[1], unpack(fields))
end
turn(info['last-generated-id'], added, deleted)
return replaced
"""


class Journal:
    """The streams, and the positions kept beside them. Every method raises redis.RedisError while Redis is away."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._ship = redis.register_script(_SHIP)
        self._replace = redis.register_script(_REPLACE)

    @classmethod
    def connect(cls, url: str) -> Self:
        """A journal on the Redis at `url`; connections are opened when they are needed.

        No retries here: who calls knows better when to try again, and shipping twice is harmless anyway.
        """
        return cls(Redis.from_url(url, socket_connect_timeout=2.0, socket_timeout=15.0, retry=Retry(NoBackoff(), 0)))

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def ship(
        self, source: str, position: int | None, end: int, batches: Mapping[str, Sequence[Frame]]
    ) -> int | None:
        """Add a source's records to their streams, and move its position from `position` to `end`: all or nothing.

        Returns the position that holds now. Where it is not `end`, Redis had another position than the caller thought
        (it lost data, or someone else ships this source) and nothing was added.
        """
        arguments: list[str | int | bytes] = [source, "" if position is None else position, end]
        for frames in batches.values():
            arguments += [frames[-1][0], len(frames), msgspec.msgpack.encode(frames)]
        return _offset(await self._ship(keys=[_SHIPPED, _STREAMS, _RECORDS, *batches], args=arguments))

    async def shipped(self, sources: Sequence[str]) -> list[int | None]:
        """The sources' positions; None for those that Redis does not know."""
        return await self._offsets(_SHIPPED, sources)

    async def forget(self, source: str) -> None:
        """Remove the position of a source whose log is gone."""
        await result(self._redis.hdel(_SHIPPED, source))

    async def archived(self, fields: Sequence[str]) -> list[int | None]:
        """What the archive says that it holds, for fields made by `archived_field`."""
        return await self._offsets(_ARCHIVED, fields)

    async def publish_archived(self, positions: Mapping[str, int], *, replace: bool = False) -> None:
        """Say what the archive holds. `replace`: these positions are all there are."""
        async with self._redis.pipeline(transaction=True) as pipeline:
            if replace:
                pipeline.delete(_ARCHIVED)
            if positions:
                pipeline.hset(_ARCHIVED, mapping=cast("Any", positions))
            await pipeline.execute()

    async def incarnation(self) -> str:
        """A word that changes when Redis restarts, fails over, or is emptied: what it held may then be gone."""
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.set(_EPOCH, secrets.token_hex(8), nx=True)
            pipeline.get(_EPOCH)
            pipeline.info("server")
            _, epoch, server = await pipeline.execute()
        return f"{server['run_id']}:{epoch.decode()}"

    async def streams(self) -> list[str]:
        """The streams that were ever written to, sorted."""
        return sorted(text(name) for name in await result(self._redis.smembers(_STREAMS)))

    async def read(
        self, stream: str, after_id: str = START, count: int = 16, block_ms: int | None = None
    ) -> list[Entry]:
        """Up to `count` entries behind `after_id`, waiting up to `block_ms` milliseconds for the first."""
        return (await self.read_many({stream: after_id}, count, block_ms)).get(stream, [])

    async def read_many(
        self, after_ids: Mapping[str, str], count: int = 16, block_ms: int | None = None
    ) -> dict[str, list[Entry]]:
        """The same for several streams: up to `count` entries of each; streams without any are left out."""
        found = await result(self._redis.xread(cast("Any", dict(after_ids)), count=count, block=block_ms))
        return by_stream(found)

    def group(self, stream: str, name: str, consumer: str) -> ConsumerGroup:
        """A consumer group of a stream, as one consumer sees it."""
        return ConsumerGroup(self._redis, stream, name, consumer)

    async def length(self, stream: str) -> int:
        """Entries in a stream."""
        return int(await result(self._redis.xlen(stream)))

    async def memory(self, stream: str) -> int:
        """About how many bytes a stream takes in Redis."""
        return int(await result(self._redis.memory_usage(stream)) or 0)

    async def sizes(self) -> dict[str, int]:
        """About how many bytes each stream takes in Redis."""
        names = await self.streams()
        if not names:
            return {}
        async with self._redis.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.memory_usage(name)
            return {name: int(size or 0) for name, size in zip(names, await pipeline.execute(), strict=True)}

    async def totals(self, streams: Sequence[str]) -> list[int]:
        """Records that were ever added to these streams: since Redis last lost its data, those added twice included."""
        return [total or 0 for total in await self._offsets(_RECORDS, streams)]

    async def first_id(self, stream: str) -> str | None:
        """Id of a stream's oldest entry."""
        found = await result(self._redis.xrange(stream, count=1))
        return text(found[0][0]) if found else None

    async def replace_batches(self, stream: str, batches: Mapping[str, bytes]) -> int:
        """Replace the batches of entries, by their ids, in one step; returns how many of them were there still.

        A batch must hold as many records, at the same offsets. It takes Redis as much memory again, for a moment, as
        the stream from the first of them on.
        """
        arguments: list[str | bytes] = []
        for identifier in sorted(batches, key=order_of):
            arguments += [identifier, batches[identifier]]
        return int(await self._replace(keys=[stream], args=arguments)) if arguments else 0

    async def rewrite_files(self, timeout: float = 60.0) -> bool:  # noqa: ASYNC109 - False in time, no exception
        """Have Redis write its files anew, so that they hold nothing which it has forgotten.

        False where that failed or took longer than `timeout` seconds, or Redis does not let us. It goes on meanwhile.
        """
        try:
            async with asyncio.timeout(timeout):
                await self._idle()
                if int((await result(self._redis.info("persistence")))["aof_enabled"]):
                    await result(self._redis.bgrewriteaof())
                elif (await result(self._redis.config_get("save"))).get("save"):
                    await result(self._redis.bgsave())
                return await self._idle()
        except (TimeoutError, ResponseError):
            return False

    async def _idle(self) -> bool:
        """Wait until Redis writes no file anew; whether it managed to the last time."""
        while True:
            found = await result(self._redis.info("persistence"))
            if not any(int(found[name]) for name in _WRITING):
                return bool(found["aof_last_bgrewrite_status"] == found["rdb_last_bgsave_status"] == "ok")
            await asyncio.sleep(0.05)

    async def trim(self, stream: str, min_id: str) -> int:
        """Remove entries older than `min_id`; returns how many went."""
        return int(await result(self._redis.xtrim(stream, minid=min_id, approximate=False)))

    async def _offsets(self, key: str, fields: Sequence[str]) -> list[int | None]:
        if not fields:
            return []
        return [_offset(value) for value in await result(self._redis.hmget(key, list(fields)))]


def is_cancelled() -> bool:
    """Whether the running task has been cancelled: for loops around calls of the journal.

    redis-py sends through `asyncio.wait_for`, which in Python 3.11 loses a cancellation that arrives as it completes.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _offset(value: bytes | str | int | None) -> int | None:
    return int(value) if value not in (None, b"", "") else None
