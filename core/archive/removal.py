"""Taking rows out of the archive: what must be forgotten, at once; and days that are older than is kept.

A file is never changed. One that holds such rows is replaced by one that does not, in the ledger's one transaction, so
every other row counts exactly once whatever else is merged or archived meanwhile. Positions do not move: what was taken
out counts as archived still, and does not come back by being shipped again.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from core.archive.columns import utc
from core.archive.store import Archive
from core.errors import StateError
from core.ledger import ArchiveFile, Ledger
from core.records import Kind

_TRIES: Final = 50
_FILENAME: Final = "__filename"  # pyarrow's name for the file that a row is from


class Removal:
    """Removes from one archive. Calls block. Raises what `Archive` raises."""

    def __init__(self, archive: Archive, ledger: Ledger) -> None:
        self._archive = archive
        self._index = ledger.archive_index

    def exchanges_of(self, task: str, users: Collection[str], until: float) -> set[str]:
        """Ids of the exchanges, ours and the completions', that these users asked for until then (epoch seconds)."""
        condition = pc.field("user").isin(list(users)) & (pc.field("at") <= pa.scalar(utc(until)))
        return self._identifiers(task, condition)

    def aliases_of(self, task: str, identifier: str) -> set[str]:
        """Both ids of the exchange that has this one; none where it is not archived."""
        return self._identifiers(task, _names(Kind.EXCHANGE, {identifier}))

    def remove(self, task: str, kind: Kind, exchanges: Collection[str]) -> int:
        """Remove the rows of a kind that are these exchanges, or about them; returns how many.

        The files that held them are gone when it returns, and a reader that has just begun on one of them must begin
        again. Raises StateError where others keep changing the files.
        """
        if not exchanges:
            return 0
        condition = _names(kind, exchanges)
        removed = 0
        for _ in range(_TRIES):
            holding = self._holding(self._index.files(task, kind.value), kind, condition)
            if not holding:
                break
            removed += sum(self._rewrite(file, kind, condition) for file in holding)
        else:
            raise StateError(f"the archive of {task!r} keeps changing; run it again")
        self._drop(self._holding(self._index.retired(task, kind.value), kind, condition))
        return removed

    def expire(self, task: str, days: int, now: float) -> int:
        """Take the days that began more than `days` whole days before `now` (epoch seconds) off the list.

        Returns how many files. `Archive.sweep` removes them a little later.
        """
        first = (datetime.fromtimestamp(now, UTC) - timedelta(days=days)).date().isoformat()
        expired = [file for kind in Kind for file in self._index.files(task, kind.value) if file.day < first]
        return sum(self._index.replace([file], None, time.time()) for file in expired)

    def _identifiers(self, task: str, condition: pc.Expression) -> set[str]:
        files = self._index.files(task, Kind.EXCHANGE.value)
        if not files:
            return set()
        found = self._archive.open_files(files, Kind.EXCHANGE).to_table(["id", "completion_id"], filter=condition)
        return {name for column in found.columns for name in column.to_pylist() if name}

    def _holding(self, files: list[ArchiveFile], kind: Kind, condition: pc.Expression) -> list[ArchiveFile]:
        """Those files that hold a row of the condition."""
        if not files:
            return []
        found = self._archive.open_files(files, kind).to_table([_FILENAME], filter=condition)
        paths = set(found.column(0).unique().to_pylist())
        return [file for file in files if any(path.endswith(f"/{file.path}") for path in paths)]

    def _rewrite(self, file: ArchiveFile, kind: Kind, condition: pc.Expression) -> int:
        """Replace a file by one without the rows of the condition; 0 where somebody else was faster."""
        rows = self._archive.open_files([file], kind).to_table()
        kept = rows.filter(~condition)
        new = self._archive.write_file(file.task, kind, file.day, kept) if kept.num_rows else None
        if not self._index.replace([file], new, time.time()):
            if new is not None:
                self._archive.delete([new.path])
            return 0
        self._drop([file])
        return int(rows.num_rows - kept.num_rows)

    def _drop(self, retired: list[ArchiveFile]) -> None:
        """Remove retired files without waiting for readers."""
        paths = [file.path for file in retired]
        self._archive.delete(paths)
        self._index.strike(paths)


def _names(kind: Kind, exchanges: Collection[str]) -> pc.Expression:
    """The condition of being one of these exchanges, or about one."""
    names = list(exchanges)
    if kind is Kind.EXCHANGE:
        return pc.field("id").isin(names) | pc.field("completion_id").isin(names)
    return pc.field("exchange").isin(names)
