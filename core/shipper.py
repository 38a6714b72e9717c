"""The shipper: carries the gateway's logs into the journal, and removes what the archive holds.

It keeps nothing of its own: how far a source has been shipped stands in Redis, beside what was shipped, and how far it
is archived is said by the archiver. So it may die between any two steps, and Redis may forget everything: it looks
where things are and goes on from there. What is shipped twice, the archiver takes once.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog
from redis.exceptions import RedisError

from core import locallog
from core.backoff import Backoff
from core.errors import StateError
from core.journal import Journal, archived_field, is_cancelled, stream_of
from core.locallog import Frame, Segment

_BATCHES_IN_TURN: Final = 16
_REMOVE_SECONDS: Final = 1.0
_SCAN_BYTES: Final = 1024 * 1024


@dataclass(slots=True)
class _Contents:
    """What a segment that is wholly shipped holds: per stream, the offset behind its last record."""

    ends: dict[str, int]
    damaged: bool


@dataclass(slots=True)
class _Source:
    """What the shipper knows of a source. All of it can be found out again."""

    name: str
    shipped: int | None
    """Where Redis says that it is; None: Redis does not know it."""
    cursor: int
    """Where reading goes on: behind `shipped` where damage was passed over."""
    ended: bool = False
    """The writer is dead and everything is read."""
    suspected: int = -1
    """Where damage was seen once; a second look decides, since a live writer may be cutting a torn frame off."""
    contents: dict[int, _Contents] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Batch:
    """Records that were read together, by stream."""

    end: int
    count: int
    unreadable: int
    streams: dict[str, list[Frame]]


class Shipper:
    """Ships every source below `folder`, those of killed writers too.

    `run` is the one task; the attributes are for metrics.
    """

    def __init__(
        self, folder: Path, journal: Journal, *, batch_bytes: int = 1024 * 1024, poll_seconds: float = 0.05
    ) -> None:
        self.redis_up = True
        self.shipped = 0
        """Records shipped, those shipped again included."""
        self.unreadable = 0
        """Records with a sound checksum that are no records of ours; passed over."""
        self.corrupt = 0
        """Damaged places; what followed in the same segment was passed over."""
        self.lag_bytes = 0
        """Bytes in the logs that are not in the journal yet."""
        self._folder = folder
        self._journal = journal
        self._batch_bytes = batch_bytes
        self._poll_seconds = poll_seconds
        self._sources: dict[str, _Source] = {}
        self._next_removal = 0.0
        self._caught_up = -1.0
        self._log = structlog.get_logger("tutelage.shipper")

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
                self._caught_up = started
                await asyncio.sleep(self._poll_seconds)

    async def drain(self, timeout: float) -> bool:  # noqa: ASYNC109 - False in time, no exception
        """Wait until everything appended before this call is shipped; False after `timeout` seconds.

        `run` must be under way.
        """
        called = time.monotonic()
        while self._caught_up < called:
            if time.monotonic() - called > timeout:
                return False
            await asyncio.sleep(min(self._poll_seconds, 0.02))
        return True

    async def _round(self) -> bool:
        """Ship what there is, a bounded piece of each source. True: there may be more."""
        names = await asyncio.to_thread(locallog.list_sources, self._folder)
        await self._look_up(names)
        busy = False
        for source in list(self._sources.values()):
            busy |= await self._ship(source)
        self.lag_bytes = await asyncio.to_thread(self._lag)
        if time.monotonic() >= self._next_removal:
            await self._remove_archived()
            self._next_removal = time.monotonic() + _REMOVE_SECONDS
        return busy

    async def _look_up(self, names: list[str]) -> None:
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
            self._sources[name] = _Source(name, position, position or 0)
        for name in self._sources.keys() - set(names):
            del self._sources[name]

    async def _ship(self, source: _Source) -> bool:
        for _ in range(_BATCHES_IN_TURN):
            if source.ended:
                return False
            try:
                batch, live = await asyncio.to_thread(self._read, source)
            except StateError as error:
                if not await asyncio.to_thread(self._pass_over, source, error):
                    return False
                continue
            if batch is None:
                source.ended = not live
                return False
            position = await self._journal.ship(source.name, source.shipped, batch.end, batch.streams)
            if position != batch.end:
                return True  # Redis has another position than we believed: the next round looks it up
            source.shipped = source.cursor = batch.end
            self.shipped += batch.count
            if batch.unreadable:
                self.unreadable += batch.unreadable
                self._log.error("unreadable_records", source=source.name, count=batch.unreadable, before=batch.end)
        return True

    def _read(self, source: _Source) -> tuple[_Batch | None, bool]:
        """The next records, if there are any, and whether the writer is alive."""
        # Asked before reading: a writer that is dead now has written all that it ever will.
        live = locallog.is_live(self._folder, source.name)
        frames = locallog.read_frames(self._folder, source.name, source.cursor, self._batch_bytes)
        if not frames:
            return None, live
        streams: dict[str, list[Frame]] = {}
        unreadable = 0
        for frame in frames:
            stream = stream_of(frame[1])
            if stream is None:
                unreadable += 1
            else:
                streams.setdefault(stream, []).append(frame)
        return _Batch(frames[-1][0], len(frames) - unreadable, unreadable, streams), live

    def _pass_over(self, source: _Source, error: StateError) -> bool:
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
        source.cursor = min(behind) if behind else segments[-1].end if segments else source.cursor
        source.ended = not behind
        return bool(behind)

    def _lag(self) -> int:
        lag = 0
        for source in self._sources.values():
            segments = locallog.list_segments(self._folder, source.name)
            lag += sum(max(0, segment.end - max(segment.start, source.cursor)) for segment in segments)
        return lag

    async def _remove_archived(self) -> None:
        for source in list(self._sources.values()):
            segments = await asyncio.to_thread(locallog.list_segments, self._folder, source.name)
            ends = [segment.start for segment in segments[1:]] + [segment.end for segment in segments[-1:]]
            left = len(segments)
            for segment, end in zip(segments, ends, strict=True):
                if end > source.cursor or (segment is segments[-1] and not source.ended):
                    break
                contents = source.contents.get(segment.start)
                if contents is None:
                    contents = await asyncio.to_thread(_contents, self._folder, source.name, segment.start, end)
                    source.contents[segment.start] = contents
                if not await self._is_archived(source.name, contents):
                    break
                await asyncio.to_thread(_remove, self._folder, source.name, segment, damaged=contents.damaged)
                del source.contents[segment.start]
                left -= 1
            if source.ended and left == 0:
                await asyncio.to_thread(locallog.remove_source, self._folder, source.name)
                await self._journal.forget(source.name)
                del self._sources[source.name]

    async def _is_archived(self, source: str, contents: _Contents) -> bool:
        positions = await self._journal.archived([archived_field(stream, source) for stream in contents.ends])
        return all((position or 0) >= end for position, end in zip(positions, contents.ends.values(), strict=True))

    def _away(self, error: Exception) -> None:
        if self.redis_up:
            self._log.warning("shipping_stopped", error=str(error) or type(error).__name__)
        self.redis_up = False

    def _back(self) -> None:
        if not self.redis_up:
            self._log.info("shipping_again")
        self.redis_up = True


def _contents(folder: Path, source: str, offset: int, end: int) -> _Contents:
    """Read a segment, of which everything is shipped, through once more."""
    ends: dict[str, int] = {}
    try:
        while offset < end:
            frames = [frame for frame in locallog.read_frames(folder, source, offset, _SCAN_BYTES) if frame[0] <= end]
            if not frames:
                break  # a torn end
            for behind, payload in frames:
                stream = stream_of(payload)
                if stream is not None:
                    ends[stream] = behind
            offset = frames[-1][0]
    except StateError:
        return _Contents(ends, damaged=True)
    return _Contents(ends, damaged=False)


def _remove(folder: Path, source: str, segment: Segment, *, damaged: bool) -> None:
    """Delete a segment; one that is damaged is kept aside, for a person to look at."""
    if damaged:
        segment.path.replace(folder / f"damaged-{source}-{segment.path.name}")
    else:
        segment.path.unlink(missing_ok=True)
