"""Reads one task's exchanges in a consumer group, and acknowledges what is compared."""

from __future__ import annotations

import asyncio
import time
from typing import Final

import structlog
from redis.exceptions import RedisError

from core.backoff import Backoff
from core.errors import StateError
from core.journal import Entry, Journal, is_cancelled, stream_name
from core.records import Exchange, Kind, decode
from router.shadow.comparer import Comparer
from router.shadow.metrics import ShadowMetrics

GROUP: Final = "shadow"
"""The consumer group of the shadow workers."""
CLAIM_SECONDS: Final = 60.0
"""A worker that was not heard of for so long is taken for dead."""

_ENTRIES_AT_ONCE: Final = 8
_BLOCK_MS: Final = 200
_FORGET_MS: Final = 3600 * 1000


class ShadowWorker:
    """One task's worker. `run` is the one task of the event loop; Redis being away does not end it."""

    def __init__(
        self,
        task: str,
        journal: Journal,
        consumer: str,
        comparer: Comparer,
        metrics: ShadowMetrics,
        claim_seconds: float = CLAIM_SECONDS,
    ) -> None:
        self._task = task
        self._group = journal.group(stream_name(task, Kind.EXCHANGE), GROUP, consumer)
        self._comparer = comparer
        self._metrics = metrics
        self._claim_seconds = claim_seconds
        self._joined = False
        self._up = True
        self._stopping = False
        self._next_claim = 0.0
        self._next_keep = 0.0
        self._working: dict[str, asyncio.Task[None]] = {}
        """By entry."""
        self._done: list[str] = []
        """Entries to acknowledge."""
        self._log = structlog.get_logger(__name__).bind(task=task)

    async def run(self) -> None:
        """Work until cancelled."""
        backoff = Backoff()
        try:
            while not is_cancelled():
                try:
                    await self._round()
                except (RedisError, OSError) as error:
                    self._away(error)
                    await backoff.pause()
                    continue
                self._back()
                backoff.reset()
        finally:
            for working in self._working.values():
                working.cancel()
            await asyncio.gather(*self._working.values(), return_exceptions=True)

    async def drain(self, timeout: float) -> bool:  # noqa: ASYNC109 - False in time, no exception
        """Take nothing new, and wait until what is under way is acknowledged; False after `timeout` seconds.

        `run` must be under way. What is not done by then is claimed by another worker, or at the next start.
        """
        self._stopping = True
        deadline = time.monotonic() + timeout
        while self._working or self._done:
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.02)
        return True

    async def leave(self) -> None:
        """Take our name off the group's list. Raises redis.RedisError while Redis is away."""
        await self._group.leave(_FORGET_MS)

    async def _round(self) -> None:
        if not self._joined:
            await self._group.join()
            self._joined = True
        done, self._done = self._done, []
        try:
            await self._group.acknowledge(done)
        except (RedisError, OSError):
            self._done += done
            raise
        await self._keep()
        await self._comparer.memory.follow()
        await self._claim()
        room = _ENTRIES_AT_ONCE - len(self._working)
        if room > 0 and not self._stopping:
            for entry in await self._group.read(room, _BLOCK_MS):
                self._begin(entry)
        else:
            await self._wait_for_one()

    async def _wait_for_one(self) -> None:
        waiting = _BLOCK_MS / 1000
        if self._working:
            await asyncio.wait(self._working.values(), timeout=waiting, return_when=asyncio.FIRST_COMPLETED)
        else:
            await asyncio.sleep(waiting)

    async def _keep(self) -> None:
        """Say now and then that we are at work still."""
        if time.monotonic() >= self._next_keep:
            self._next_keep = time.monotonic() + self._claim_seconds / 4
            await self._group.keep(list(self._working))

    async def _claim(self) -> None:
        """Now and then, take over what dead workers were given, and forget their names."""
        if self._stopping or time.monotonic() < self._next_claim:
            return
        self._next_claim = time.monotonic() + self._claim_seconds / 2
        entries, lost = await self._group.claim(round(self._claim_seconds * 1000), _ENTRIES_AT_ONCE)
        for entry in entries:
            if entry.id not in self._working and entry.id not in self._done:
                self._metrics.claimed.labels(self._task).inc()
                self._log.info("batch_claimed", entry=entry.id, records=entry.count)
                self._begin(entry)
        if lost:
            self._metrics.lost.labels(self._task).inc(lost)
            self._log.error("batches_lost", count=lost, hint="the journal was trimmed; raise redis.stream_bytes")
        if len(entries) + lost == _ENTRIES_AT_ONCE:
            self._next_claim = 0.0  # there may be more

    def _begin(self, entry: Entry) -> None:
        working = asyncio.create_task(self._work(entry))
        self._working[entry.id] = working
        working.add_done_callback(lambda _: self._working.pop(entry.id, None))

    async def _work(self, entry: Entry) -> None:
        """Compare what the entry holds. What fails for a reason that nobody foresaw is left to be claimed again."""
        try:
            await self._comparer.compare(self._exchanges(entry))
        except Exception:  # noqa: BLE001 - the outermost frame: logged with its traceback, and not acknowledged
            self._log.exception("batch_failed", entry=entry.id)
        else:
            self._done.append(entry.id)

    def _exchanges(self, entry: Entry) -> list[Exchange]:
        exchanges: list[Exchange] = []
        for end, payload in entry.frames():
            try:
                record = decode(payload)
            except StateError as error:
                self._metrics.unreadable.labels(self._task).inc()
                self._log.error("unreadable_record", source=entry.source, before=end, error=str(error))
                continue
            if isinstance(record, Exchange):
                exchanges.append(record)
        return exchanges

    def _away(self, error: Exception) -> None:
        """Redis is away, or has forgotten the group together with its data: then we join again."""
        self._joined = False
        if self._up:
            self._log.warning("shadow_stopped", error=str(error) or type(error).__name__)
        self._up = False
        self._metrics.redis_up.labels(self._task).set(0)

    def _back(self) -> None:
        if not self._up:
            self._log.info("shadow_again")
        self._up = True
        self._metrics.redis_up.labels(self._task).set(1)
