"""What the archiver leaves out since it must be forgotten, wherever it comes from and however late."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

from core.archive import Archive, Row
from core.archive.removal import Removal
from core.forgetting import hollow_stream
from core.journal import Journal, stream_name
from core.ledger import Ledger
from core.records import Exchange, Kind, kind_of

_ABOUT: Final = (Kind.COMPARISON, Kind.FEEDBACK)


class Forgetting:
    """Holds rows against the tombstones before they are archived, and takes what was left out off the journal."""

    def __init__(self, journal: Journal, archive: Archive, ledger: Ledger, log: Any) -> None:
        self.dropped = 0
        """Records left out."""
        self._journal = journal
        self._forgotten = ledger.forgotten
        self._tombstones = ledger.forgotten.tombstones()
        self._removal = Removal(archive, ledger)
        self._log = log
        self._streams: set[str] = set()
        """Those that hold what was left out."""

    def admit(self, rows: Sequence[Row]) -> tuple[list[Row], int]:
        """The rows that may be archived, and the revision of the tombstones that they were held against. Blocks.

        Raises what the ledger and the archive raise.
        """
        tombstones = self._tombstones
        tombstones.refresh()
        kept = [row for row in rows if not tombstones.hold(row.record)]
        if len(kept) < len(rows):
            self._leave_out([row for row in rows if tombstones.hold(row.record)])
        return kept, tombstones.revision

    async def tidy(self) -> None:
        """Take the content of what was left out off the journal. Raises redis.RedisError while Redis is away."""
        if not self._streams:
            return
        for stream in sorted(self._streams):
            hollowed = await hollow_stream(self._journal, stream, self._tombstones.hold)
            self._streams.discard(stream)
            self._log.info("journal_hollowed", stream=stream, records=hollowed)
        if not await self._journal.rewrite_files():
            self._log.warning(
                "redis_files_not_rewritten", hint="run BGREWRITEAOF or BGSAVE: they hold what is forgotten"
            )

    def _leave_out(self, rows: Sequence[Row]) -> None:
        """Of an exchange that is left out, what is about it goes as well: what comes later, and what was faster."""
        self.dropped += len(rows)
        self._streams |= {stream_name(row.record.task, kind_of(row.record)) for row in rows}
        names: dict[str, set[str]] = defaultdict(set)
        for row in rows:
            if isinstance(row.record, Exchange):
                names[row.record.task] |= {row.record.id, row.record.completion_id} - {""}
        unknown = {name for found in names.values() for name in found if not self._tombstones.has(name)}
        if unknown:
            self._forgotten.add(exchanges=unknown)
            self._tombstones.refresh()
        removed = sum(self._removal.remove(task, kind, found) for task, found in names.items() for kind in _ABOUT)
        self._log.info("records_forgotten", records=len(rows), about_them=removed)
