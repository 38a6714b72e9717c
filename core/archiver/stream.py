"""A stream that is being read: what of it waits to be archived, and how far the archive lags behind it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import msgspec
import structlog

from core.archive import Row
from core.errors import StateError
from core.journal import START, Entry, added_at
from core.ledger import Move
from core.locallog import Frame
from core.records import SCHEMA, decode

_HELD_SECONDS: Final = 30.0

_log = structlog.get_logger("tutelage.archiver")


class Lag(NamedTuple):
    """How far the archive is behind a stream."""

    records: int
    seconds: float
    """At most how old the oldest record is, in the stream, that the archive does not hold."""


class Taken(NamedTuple):
    """What of some entries was not added to what waits."""

    duplicates: int
    unreadable: int


@dataclass(slots=True)
class Stream:
    """One stream, as the archiver knows it."""

    name: str
    read_id: str = START
    committed_id: str = START
    """Everything up to here is in the archive."""
    rows: list[Row] = field(default_factory=list)
    moves: dict[str, Move] = field(default_factory=dict)
    """By source: from where it was when the first of its `rows` was read, to where it is once they are archived."""
    since: float = 0.0
    """When the first of them was read."""
    held_until: float = 0.0
    waiting_at: float | None = None
    """When the first entry that was read and is not committed was added to the stream."""
    read_total: int | None = None
    committed_total: int | None = None
    """Records that had been added to the stream up to `read_id`, and up to `committed_id`; None: not known yet."""

    def take(self, entries: Sequence[Entry], positions: Mapping[tuple[str, str], int]) -> Taken:
        """Add the entries' records to what waits, without those that are archived or wait already.

        `positions`: by stream and source, how far the archive is.
        """
        self.held_until = 0.0
        if not self.moves:
            self.since, self.waiting_at = time.monotonic(), entries[0].at
        if self.committed_total is None and entries[0].total:
            self.committed_total = entries[0].total - entries[0].count
        duplicates = unreadable = 0
        for entry in entries:
            move = self.moves.get(entry.source)
            have = move.after if move else positions.get((self.name, entry.source), 0)
            frames = entry.frames() if entry.end > have else []
            new = [frame for frame in frames if frame[0] > have]
            duplicates += entry.count - len(new)
            reached, broken = self._decode(entry.source, new)
            unreadable += broken
            if reached > have:
                self.moves[entry.source] = Move(self.name, entry.source, move.before if move else have, reached)
            if new and reached < entry.end:
                return Taken(duplicates, unreadable)  # held
            self.read_id, self.read_total = entry.id, entry.total or self.read_total
        if not self.moves:
            self.commit()
        return Taken(duplicates, unreadable)

    def _decode(self, source: str, frames: Sequence[Frame]) -> tuple[int, int]:
        """Add records to what waits; returns the offset behind the last one, and how many could not be read.

        One that is newer than this program holds the stream: it is read up to there, and tried again later.
        """
        reached = unreadable = 0
        for end, payload in frames:
            try:
                self.rows.append(Row(source, end, decode(payload)))
            except StateError as error:
                if _schema_of(payload) > SCHEMA:
                    self.held_until = time.monotonic() + _HELD_SECONDS
                    _log.error("stream_held", stream=self.name, error=str(error))
                    break
                unreadable += 1
                _log.error("unreadable_record", stream=self.name, source=source, before=end, error=str(error))
            reached = end
        return reached, unreadable

    def commit(self) -> None:
        """Everything that was read is in the archive."""
        self.rows, self.moves, self.waiting_at = [], {}, None
        self.committed_id, self.committed_total = self.read_id, self.read_total

    def rewind(self) -> None:
        """Drop what waits; it will be read again."""
        self.rows, self.moves = [], {}
        self.read_id, self.read_total = self.committed_id, self.committed_total

    def lag(self, total: int, now: float) -> Lag:
        """How far the archive is behind, where `total` records were ever added to the stream and it is `now`."""
        behind = 0 if self.committed_total is None else max(0, total - self.committed_total)
        if not behind:
            return Lag(0, 0.0)
        since = self.waiting_at if self.waiting_at is not None else added_at(self.committed_id)
        return Lag(behind, max(0.0, now - since))


class _Versioned(msgspec.Struct):
    """The one field that every schema has."""

    schema: int = 1


def _schema_of(payload: bytes) -> int:
    try:
        return msgspec.msgpack.decode(payload, type=_Versioned).schema
    except (msgspec.DecodeError, UnicodeDecodeError):
        return 0
