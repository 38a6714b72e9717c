"""Reading on in the archive where a stream was trimmed, or lost, before it was read.

Streams are trimmed behind the archive only, and logs are deleted behind it only. So whatever a stream does not hold any
more is archived, at an offset behind the one that was read; and what is read here is passed over when the stream has it
as well, by its offset.
"""

from __future__ import annotations

import asyncio
import heapq
import math
from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from core.ledger import Ledger
from core.records import Comparison
from monitoring.intake import Intake
from monitoring.position import Position

if TYPE_CHECKING:
    from core.archive import Archive, Row

PAGE: Final = 5_000  # records of a stream
_CLOCK_SECONDS: Final = 3600.0


class History:
    """The archived part of a task's streams. Every method raises StateError or SQLAlchemyError where it is away."""

    def __init__(self, streams: Sequence[str], url: str | None, ledger: Ledger) -> None:
        """Without a `url` nothing is read, and what is missing is lost."""
        self.read = 0
        """Records that were read in the archive."""
        self.lost = 0
        """Records that neither a stream nor the archive held any more."""
        self._streams = streams
        self._url = url
        self._ledger = ledger
        self._opened: Archive | None = None

    async def leave(self, position: Position) -> None:
        """Before anything is read at all: what is archived by now, and no longer in the streams, is left alone."""
        position.before = await asyncio.to_thread(self._archived)

    async def catch_up(self, intake: Intake) -> None:
        """Have the next records taken that are archived and were not read, in order.

        Not all at once, so that what was read is stored in between. Where none are left, the position says so.
        """
        position = intake.position
        if self._url is None:
            self.lost += position.caught_up({})
            return
        archived = await asyncio.to_thread(self._archived)
        since = position.at - _CLOCK_SECONDS  # a file is written after its records were added to the stream
        pages: dict[str, Sequence[Row]] = {}
        for stream, ends in archived.items():
            wanted = position.behind(stream, ends)
            pages[stream] = await asyncio.to_thread(self._page, self._url, stream, wanted, since) if wanted else []
        if not any(pages.values()):
            self.lost += position.caught_up(archived)
            return
        for stream, row in _merged(pages):
            await intake.take_archived(stream, row.source, row.offset, row.record)
            self.read += 1

    def _archived(self) -> dict[str, dict[str, int]]:
        """By stream and source, the offset up to which its records are in the archive."""
        found: dict[str, dict[str, int]] = {stream: {} for stream in self._streams}
        for (stream, source), end in self._ledger.archive_index.positions().items():
            if stream in found:
                found[stream][source] = end
        return found

    def _page(self, url: str, stream: str, wanted: Mapping[str, tuple[int, int]], since: float) -> Sequence[Row]:
        from core.archive import Archive  # with pyarrow and DuckDB, which a monitor needs only here
        from core.archive.unread import unread

        if self._opened is None:
            self._opened = Archive(url, self._ledger)
        return unread(self._opened, self._ledger, stream, wanted, limit=PAGE, created_after=since)


def _merged(pages: Mapping[str, Sequence[Row]]) -> Iterator[tuple[str, Row]]:
    """The rows of all pages by time, as far as every page goes: behind a full one there may be more."""
    timed = {stream: list(_timed(stream, page)) for stream, page in pages.items()}
    ends = [page[-1][0] for page in timed.values() if len(page) == PAGE]
    for at, stream, row in heapq.merge(*timed.values(), key=itemgetter(0)):
        if at > min(ends, default=math.inf):
            return
        yield stream, row


def _timed(stream: str, page: Sequence[Row]) -> Iterator[tuple[float, str, Row]]:
    """Rows in their order, with the latest time so far: a comparison's is when it was made."""
    latest = 0.0
    for row in page:
        record = row.record
        latest = max(latest, record.compared_at if isinstance(record, Comparison) else record.at)
        yield latest, stream, row
