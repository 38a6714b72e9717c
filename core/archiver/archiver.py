"""The loop: read, leave out what is archived, flush, say so. `core.archiver` says why it can do no harm."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from typing import Final

import structlog
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from core.archive import Archive, fits
from core.archive.removal import Removal
from core.archiver.forgetting import Forgetting
from core.archiver.housekeeping import Housekeeping
from core.archiver.retention import Retention
from core.archiver.stream import Lag, Stream
from core.backoff import Backoff
from core.errors import StateError
from core.journal import Journal, archived_field, is_cancelled
from core.ledger import Ledger

_READ_ENTRIES: Final = 8
_BLOCK_MS: Final = 250


class Archiver:
    """Archives every stream of the journal. `run` is the one task; the attributes are for metrics."""

    def __init__(
        self,
        journal: Journal,
        archive: Archive,
        ledger: Ledger,
        *,
        flush_seconds: float = 2.0,
        flush_rows: int = 20_000,
        stream_bytes: int = 256 * 1024 * 1024,
        retention_days: Mapping[str, int] | None = None,
    ) -> None:
        """`retention_days`: for how long the records of a task are kept; of others for good."""
        self.up = True
        self.archived = 0
        """Records archived."""
        self.duplicates = 0
        """Records left out since the archive had them."""
        self.unreadable = 0
        """Records that could not be decoded; passed over."""
        self.conflicts = 0
        """Times when another archiver was faster."""
        self._journal = journal
        self._archive = archive
        self._index = ledger.archive_index
        self._flush_seconds = flush_seconds
        self._flush_rows = flush_rows
        self._incarnation = ""
        self._positions: dict[tuple[str, str], int] = {}
        self._streams: dict[str, Stream] = {}
        self._totals: dict[str, int] = {}
        self._draining = 0
        self._caught_up = -1.0
        self._log = structlog.get_logger("tutelage.archiver")
        self._forgetting = Forgetting(journal, archive, ledger, self._log)
        self._house = Housekeeping(
            journal,
            archive,
            self._log,
            stream_bytes=stream_bytes,
            file_rows=flush_rows,
            retention=Retention(journal, Removal(archive, ledger), retention_days or {}, self._log),
        )

    @property
    def trimmed(self) -> int:
        """Entries removed from streams that had grown too long."""
        return self._house.trimmed

    @property
    def forgotten(self) -> int:
        """Records left out since they must be forgotten."""
        return self._forgetting.dropped

    def lags(self) -> dict[str, Lag]:
        """How far the archive is behind each stream, as of the last second that Redis answered."""
        now = time.time()
        return {stream.name: stream.lag(self._totals.get(stream.name, 0), now) for stream in self._streams.values()}

    async def run(self) -> None:
        """Archive until cancelled. Redis, the ledger or the disk being away does not end it."""
        backoff = Backoff()
        while not is_cancelled():
            started = time.monotonic()
            try:
                waiting = await self._round()
            except (RedisError, SQLAlchemyError, OSError, StateError) as error:
                self._away(error)
                await backoff.pause()
                continue
            self._back()
            backoff.reset()
            if not waiting:
                self._caught_up = started

    async def drain(self, timeout: float) -> bool:  # noqa: ASYNC109 - False in time, no exception
        """Wait until everything journalled before this call is archived; False after `timeout` seconds.

        `run` must be under way.
        """
        called = time.monotonic()
        self._draining += 1
        try:
            while self._caught_up < called:
                if time.monotonic() - called > timeout:
                    return False
                await asyncio.sleep(0.01)
        finally:
            self._draining -= 1
        return True

    async def _round(self) -> bool:
        """Read, flush what is due, keep house. True: something waits still."""
        await self._meet_redis()
        for name in await self._journal.streams():
            self._streams.setdefault(name, Stream(name))
        got = await self._read()
        for stream in self._streams.values():
            if stream.moves and self._is_due(stream):
                await self._flush(stream)
        await self._keep_house()
        return got or any(stream.moves or stream.held_until for stream in self._streams.values())

    async def _meet_redis(self) -> None:
        """After a start, and after Redis may have lost data: begin again, and tell Redis what is archived."""
        incarnation = await self._journal.incarnation()
        if incarnation == self._incarnation:
            return
        self._positions = await asyncio.to_thread(self._index.positions)
        self._streams = {}
        await self._publish(replace=True)
        self._incarnation = incarnation
        self._log.info("journal_read_from_start")

    async def _read(self) -> bool:
        """Take new entries of all streams; wait a moment where there are none."""
        now = time.monotonic()
        after = {
            stream.name: stream.read_id
            for stream in self._streams.values()
            if stream.held_until <= now and len(stream.rows) < self._flush_rows
        }
        block = 1 if self._draining else int(min(_BLOCK_MS, self._flush_seconds * 1000)) or 1
        if not after:
            await asyncio.sleep(block / 1000)
            return False
        found = await self._journal.read_many(after, _READ_ENTRIES, block)
        for name, entries in found.items():
            taken = await asyncio.to_thread(self._streams[name].take, entries, self._positions)
            self.duplicates += taken.duplicates
            self.unreadable += taken.unreadable
        return bool(found)

    def _is_due(self, stream: Stream) -> bool:
        return (
            self._draining > 0
            or len(stream.rows) >= self._flush_rows
            or time.monotonic() - stream.since >= self._flush_seconds
        )

    async def _flush(self, stream: Stream) -> None:
        """Archive what waits of a stream.

        Where that raises it waits on. It may have been committed all the same: then the next try comes too late, as it
        does where another archiver was faster, and the stream is read again.
        """
        moves = list(stream.moves.values())
        try:
            rows, revision = await asyncio.to_thread(self._forgetting.admit, stream.rows)
            done = await asyncio.to_thread(self._archive.append, stream.name, rows, moves, self._flush_rows, revision)
        except (ValueError, OverflowError):
            await asyncio.to_thread(self._drop_unfit, stream)
            return
        if not done:
            self.conflicts += 1
            self._log.info("archived_by_another", stream=stream.name)
            stream.rewind()
            await asyncio.sleep(random.uniform(0, 0.2))  # noqa: S311 - so that two do not keep meeting
            self._positions = await asyncio.to_thread(self._index.positions)
            return
        self._positions |= {(move.stream, move.source): move.after for move in moves}
        self.archived += len(rows)
        stream.commit()
        await self._journal.publish_archived({archived_field(move.stream, move.source): move.after for move in moves})

    def _drop_unfit(self, stream: Stream) -> None:
        """Leave out records whose values fit no column: a count beyond 64 bits, a time beyond the calendar.

        One of them must not keep all others out of the archive. Raises StateError where it is none of them.
        """
        fit = [row for row in stream.rows if fits(row)]
        if len(fit) == len(stream.rows):
            raise StateError(f"{stream.name}: {len(fit)} records cannot be archived, though each by itself could")
        self.unreadable += len(stream.rows) - len(fit)
        self._log.error("records_fit_no_column", stream=stream.name, count=len(stream.rows) - len(fit))
        stream.rows = fit

    async def _keep_house(self) -> None:
        if self._house.is_time("publish"):
            self._positions |= await asyncio.to_thread(self._index.positions)
            await self._publish()
        await self._forgetting.tidy()
        if self._house.is_time("lag"):
            self._totals = dict(zip(self._streams, await self._journal.totals(list(self._streams)), strict=True))
        await self._house.keep({stream.name: stream.committed_id for stream in self._streams.values()})

    async def _publish(self, *, replace: bool = False) -> None:
        positions = {archived_field(stream, source): end for (stream, source), end in self._positions.items()}
        await self._journal.publish_archived(positions, replace=replace)

    def _away(self, error: Exception) -> None:
        if self.up:
            self._log.warning("archiving_stopped", error=str(error) or type(error).__name__)
        self.up = False

    def _back(self) -> None:
        if not self.up:
            self._log.info("archiving_again")
        self.up = True
