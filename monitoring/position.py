"""How far a task's streams have been read."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from core.journal import START, Entry, added_at


class Position(msgspec.Struct):
    """How far a task's streams have been read. It is stored together with what was counted up to there.

    An entry says how many records were ever added to its stream. Where that is more than were read, entries in between
    were trimmed, which happens behind the archive only: `catching_up` until they have been read there.
    """

    incarnation: str = ""
    """Redis' word for itself: ids of entries, and totals, mean nothing to another one."""
    entries: dict[str, str] = {}
    """By stream, the id of the last entry."""
    totals: dict[str, int] = {}
    """By stream, the records that had been added to it up to that entry."""
    offsets: dict[str, dict[str, int]] = {}
    """By stream and source, the offset up to which its log was read."""
    before: dict[str, dict[str, int]] = {}
    """The same of what was in the archive before there was any reader: where the stream lacks it, it is left alone."""
    at: float = 0.0
    """When the newest entry that was read had been added, by Redis' clock."""
    catching_up: bool = False
    resumed: dict[str, int] = {}
    """By stream with a gap, the records that had been added to it up to the gap's end."""
    gaps: dict[str, int] = {}
    """By stream with a gap, the records in it."""
    archived: dict[str, int] = {}
    """By stream, the records that were read in the archive since its last entry."""

    def meet(self, incarnation: str) -> None:
        """Take note of Redis' word for itself. The streams of another one are read from the start.

        What it does not hold is in the archive, or still in the logs, which are shipped again.
        """
        if incarnation == self.incarnation:
            return
        if self.incarnation:
            self.catching_up = True
            self.totals = dict.fromkeys(self.entries, 0)
        self.incarnation, self.entries = incarnation, {}
        self.resumed, self.gaps = {}, {}

    def after(self, stream: str) -> str:
        """The id of the entry behind which a stream is read on."""
        return self.entries.get(stream, START)

    def finds_gap(self, stream: str, entry: Entry) -> bool:
        """Whether entries before this one are gone, unread; then they must be read in the archive first."""
        known, before = self.totals.get(stream), entry.total - entry.count
        if known is None or not entry.total or before <= known:
            return False
        self.catching_up = True
        self.resumed[stream] = before
        self.gaps[stream] = before - known if known else 0  # 0: all that were ever trimmed, read or not
        return True

    def passed(self, stream: str, entry: Entry) -> None:
        """The whole entry was read."""
        self.entries[stream] = entry.id
        if entry.total:
            self.totals[stream] = entry.total
        self.archived.pop(stream, None)
        self.at = max(self.at, added_at(entry.id))

    def behind(self, stream: str, archived: Mapping[str, int]) -> dict[str, tuple[int, int]]:
        """What the archive holds and was not read: by source, the offset read and the one archived.

        `archived`: by source, the offset up to which its records of this stream are in the archive.
        """
        offsets, before = self.offsets.get(stream, {}), self.before.get(stream, {})
        have = {source: offsets.get(source, before.get(source, 0)) for source in archived}
        return {source: (have[source], end) for source, end in archived.items() if end > have[source]}

    def found(self, stream: str) -> None:
        """A record of the stream was read in the archive."""
        self.archived[stream] = self.archived.get(stream, 0) + 1

    def caught_up(self, archived: Mapping[str, Mapping[str, int]]) -> int:
        """All that the archive holds up to these offsets, by stream and source, was read; the streams may be read on.

        Returns how many records were missing all the same, at least.
        """
        for stream, ends in archived.items():
            for source, (_, end) in self.behind(stream, ends).items():
                self.offsets.setdefault(stream, {})[source] = end
        lost = sum(max(size - self.archived.get(stream, 0), 0) for stream, size in self.gaps.items())
        self.totals |= self.resumed
        self.catching_up, self.resumed, self.gaps = False, {}, {}
        return lost
