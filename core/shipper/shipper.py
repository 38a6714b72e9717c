"""The loop: see where things are, ship what there is, delete what may go. `core.shipper` says what it promises."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog
from redis.exceptions import RedisError

from core import locallog
from core.backoff import Backoff
from core.errors import StateError
from core.journal import Journal, is_cancelled
from core.settings import Settings
from core.shipper.cleaner import Cleaner, Space
from core.shipper.source import Source, read_batch

_BATCHES_IN_TURN: Final = 16
_CHORES_SECONDS: Final = 1.0
_FULL: Final = 2
"""A stream is full at so many times its cap. The archiver trims from once the cap on: between the two is its time."""


def open_shipper(settings: Settings, folder: Path, journal: Journal) -> Shipper:
    """A shipper of the logs below `folder`, with the bounds that the settings set."""
    space = Space(max_bytes=settings.log.max_bytes, min_free_bytes=settings.log.min_free_bytes)
    return Shipper(folder, journal, stream_bytes=settings.redis.stream_bytes, space=space)


class Shipper:
    """Ships every source below `folder`, those of killed writers too.

    `run` is the one task; the attributes are for metrics.
    """

    def __init__(
        self,
        folder: Path,
        journal: Journal,
        *,
        batch_bytes: int = 1024 * 1024,
        poll_seconds: float = 0.1,
        stream_bytes: int = 0,
        space: Space | None = None,
    ) -> None:
        """`stream_bytes` is the cap at which the archiver trims a stream (0: none), `space` what the log may take."""
        self.redis_up = True
        self.shipped = 0
        """Records shipped, those shipped again included."""
        self.unreadable = 0
        """Records with a sound checksum that are no records of ours; passed over."""
        self.corrupt = 0
        """Damaged places; what followed in the same segment was passed over."""
        self.lag_bytes = 0
        """Bytes in the logs that are not in the journal yet: 0 when caught up, else as of the last second."""
        self.held = False
        """Shipping waits for the archive, since a stream is full."""
        self._folder = folder
        self._journal = journal
        self._batch_bytes = batch_bytes
        self._poll_seconds = poll_seconds
        self._stream_bytes = stream_bytes
        self._sources: dict[str, Source] = {}
        self._look_due = 0.0
        self._next_removal = 0.0
        self._weighed = 0.0
        self._since_weighed = 0
        """Bytes shipped since the streams were weighed."""
        self._draining = 0
        self._caught_up = time.monotonic()
        self._log = structlog.get_logger("tutelage.shipper")
        self._cleaner = Cleaner(folder, journal, space or Space(), self._log)

    @property
    def lag_seconds(self) -> float:
        """At most how old the oldest record is that is not in the journal yet; up to a polling interval is no lag."""
        return time.monotonic() - self._caught_up

    @property
    def sacrificed(self) -> int:
        """Segments deleted for want of space that were shipped, and not archived yet."""
        return self._cleaner.sacrificed

    async def run(self) -> None:
        """Ship until cancelled. Neither Redis nor the disk being away ends it."""
        backoff = Backoff()
        while not is_cancelled():
            started = time.monotonic()
            try:
                busy = await self._round()
            except (RedisError, OSError) as error:
                self._away(error)
                await backoff.pause()
                continue
            self._back()
            backoff.reset()
            if not busy:
                self._caught_up, self.lag_bytes = started, 0
            if not busy or self.held:
                await asyncio.sleep(self._poll_seconds)

    async def drain(self, timeout: float) -> bool:  # noqa: ASYNC109 - False in time, no exception
        """Wait until everything appended before this call is shipped; False after `timeout` seconds.

        `run` must be under way.
        """
        called = time.monotonic()
        self._draining += 1
        try:
            while self._caught_up < called:
                if time.monotonic() - called > timeout:
                    return False
                await asyncio.sleep(min(self._poll_seconds, 0.02))
        finally:
            self._draining -= 1
        return True

    async def _round(self) -> bool:
        """Ship what there is, a bounded piece of each source. True: there may be more."""
        await self._look_around()
        busy = False
        for source in list(self._sources.values()):
            busy |= await self._ship(source)
        if time.monotonic() >= self._next_removal:
            await self._do_chores()
            self._next_removal = time.monotonic() + _CHORES_SECONDS
        return busy

    async def _look_around(self) -> None:
        """Find sources that have come or gone, and now and then ask Redis anew how far each is shipped."""
        names = await asyncio.to_thread(locallog.list_sources, self._folder)
        now = time.monotonic()
        if now >= self._look_due or self._draining or self._sources.keys() != set(names):
            await self._look_up(names)
            self._look_due = now + _CHORES_SECONDS

    async def _look_up(self, names: Sequence[str]) -> None:
        """Take from Redis how far each source is.

        A source that it no longer knows is shipped from the start of what is left of its log: what is archived has
        been deleted, or is taken out again by the archiver.
        """
        for name, position in zip(names, await self._journal.shipped(names), strict=True):
            known = self._sources.get(name)
            if known is not None and known.shipped == position:
                continue
            if known is not None:
                self._log.warning("redis_lost_data", source=name, believed=known.shipped, found=position)
            self._sources[name] = Source(name, position, position or 0)
        for name in self._sources.keys() - set(names):
            del self._sources[name]

    async def _ship(self, source: Source) -> bool:
        for _ in range(_BATCHES_IN_TURN):
            if source.ended:
                return False
            if not await self._is_room():
                return True
            try:
                batch, live = await asyncio.to_thread(read_batch, self._folder, source, self._batch_bytes)
            except StateError as error:
                if not await asyncio.to_thread(self._pass_over, source, error):
                    return False
                continue
            if batch is None:
                source.ended = not live
                return False
            position = await self._journal.ship(source.name, source.shipped, batch.end, batch.streams)
            if position != batch.end:
                self._look_due = 0.0  # Redis has another position than we believed: the next round looks it up
                return True
            source.shipped = source.cursor = batch.end
            source.note(batch)
            self.shipped += batch.count
            self._since_weighed += batch.end - batch.begin
            if batch.unreadable:
                self.unreadable += batch.unreadable
                self._log.error("unreadable_records", source=source.name, count=batch.unreadable, before=batch.end)
            if not batch.more:
                return False
        return True

    async def _is_room(self) -> bool:
        """Whether the streams may grow. Weighed once a second, and as often as a quarter of the cap was shipped."""
        now = time.monotonic()
        if self._stream_bytes and (now >= self._weighed or self._since_weighed >= self._stream_bytes // 4):
            self._weighed, self._since_weighed = now + _CHORES_SECONDS, 0
            sizes = await self._journal.sizes()
            full = [stream for stream, size in sizes.items() if size >= _FULL * self._stream_bytes]
            if full and not self.held:
                self._log.warning(
                    "shipping_held",
                    streams=full,
                    why="they are at twice redis.stream_bytes, and the archiver has not archived them; is it running?",
                )
            elif self.held and not full:
                self._log.info("shipping_goes_on")
            self.held = bool(full)
        return not self.held

    def _pass_over(self, source: Source, error: StateError) -> bool:
        """Go on behind a damaged place, in the next segment. False: there is none, at least not yet."""
        live = locallog.is_live(self._folder, source.name)
        if source.suspected != source.cursor:
            source.suspected = source.cursor
            if live:
                return False
        segments = locallog.list_segments(self._folder, source.name)
        behind = [segment.start for segment in segments if segment.start > source.cursor]
        if not behind and live:
            return False  # reported once the writer has begun another segment: until then nothing can be done
        self.corrupt += 1
        self._log.error("log_damaged", source=source.name, offset=source.cursor, error=str(error))
        source.contents.clear()  # so that what is damaged is seen when it is about to be deleted
        source.cursor = min(behind) if behind else segments[-1].end if segments else source.cursor
        source.ended = not behind
        return bool(behind)

    async def _do_chores(self) -> None:
        """Measure the lag, and delete what may go."""
        self.lag_bytes = await asyncio.to_thread(self._lag)
        for source in list(self._sources.values()):
            if await self._cleaner.remove_archived(source):
                del self._sources[source.name]
        await self._look_up(await asyncio.to_thread(locallog.list_sources, self._folder))
        await self._cleaner.make_room(self._sources.values())

    def _lag(self) -> int:
        lag = 0
        for source in self._sources.values():
            segments = locallog.list_segments(self._folder, source.name)
            lag += sum(max(0, segment.end - max(segment.start, source.cursor)) for segment in segments)
        return lag

    def _away(self, error: Exception) -> None:
        self._look_due = 0.0  # another Redis may be there when it is back
        if self.redis_up:
            self._log.warning("shipping_stopped", error=str(error) or type(error).__name__)
        self.redis_up = False

    def _back(self) -> None:
        if not self.redis_up:
            self._log.info("shipping_again")
        self.redis_up = True
