"""The archive's index: which files count, and how far each source's records are in them.

A file counts once it is listed here, and it is listed in the transaction that moves the positions which it covers. So
a record is in the archive exactly once, whoever crashes when: a file that was written and not listed is waste, and a
position moves only from where its writer believed it to be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Engine, Select, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from core.ledger.forgotten import locked_revision
from core.ledger.tables import archive_files, archive_positions


@dataclass(frozen=True, slots=True)
class ArchiveFile:
    """One Parquet file. Times are seconds since the epoch; `path` is below the archive's root."""

    path: str
    task: str
    kind: str
    day: str
    rows: int
    bytes: int
    min_at: float
    max_at: float
    created: float


@dataclass(frozen=True, slots=True)
class Move:
    """A source's position in a stream goes from `before` (0: it had none) to `after`."""

    stream: str
    source: str
    before: int
    after: int


class _ConflictError(Exception):
    """Somebody else was faster; rolls the transaction back."""


class ArchiveIndex:
    """The archive's part of the ledger."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def commit(self, files: Sequence[ArchiveFile], moves: Sequence[Move], revision: int | None = None) -> bool:
        """List files and move positions, all or nothing. False: a position was not where the mover believed it.

        `revision`: of the tombstones that the files' rows were held against; False also where there are newer ones.
        """
        try:
            with self._engine.begin() as connection:
                # In one order always, so that two archivers cannot wait for each other.
                for move in sorted(moves, key=lambda move: (move.stream, move.source)):
                    _move(connection, move)
                if files:
                    connection.execute(insert(archive_files), [asdict(file) for file in files])
                if revision is not None:
                    _expect(locked_revision(connection), revision)
        except (_ConflictError, IntegrityError):
            return False
        return True

    def replace(self, old: Sequence[ArchiveFile], new: ArchiveFile | None, at: float) -> bool:
        """List `new`, or nothing, in place of `old`. False: one of `old` is no longer listed."""
        paths = [file.path for file in old]
        try:
            with self._engine.begin() as connection:
                retired = connection.execute(
                    update(archive_files)
                    .where(archive_files.c.path.in_(paths), archive_files.c.retired.is_(None))
                    .values(retired=at)
                )
                _expect(retired.rowcount, len(paths))
                if new is not None:
                    connection.execute(insert(archive_files), asdict(new))
        except _ConflictError:
            return False
        return True

    def positions(self) -> dict[tuple[str, str], int]:
        """How far each (stream, source) is archived."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(archive_positions))
            return {(row.stream, row.source): row.position for row in rows}

    def files(
        self, task: str, kind: str, *, since: float | None = None, until: float | None = None
    ) -> list[ArchiveFile]:
        """The files that count, oldest first: those that may hold records of the time from `since` to `until`."""
        query = select(archive_files).where(
            archive_files.c.task == task, archive_files.c.kind == kind, archive_files.c.retired.is_(None)
        )
        if since is not None:
            query = query.where(archive_files.c.max_at >= since)
        if until is not None:
            query = query.where(archive_files.c.min_at <= until)
        return self._list(query)

    def retired(self, task: str, kind: str) -> list[ArchiveFile]:
        """Files that count no more, and are there for readers that began before."""
        return self._list(
            select(archive_files).where(
                archive_files.c.task == task, archive_files.c.kind == kind, archive_files.c.retired.is_not(None)
            )
        )

    def strike(self, paths: Sequence[str]) -> None:
        """Take retired files off the list at once; afterwards they may be removed."""
        with self._engine.begin() as connection:
            gone = archive_files.c.path.in_(list(paths)), archive_files.c.retired.is_not(None)
            connection.execute(delete(archive_files).where(*gone))

    def count(self, task: str, kind: str) -> int:
        """Records archived of a task and kind."""
        query = select(func.coalesce(func.sum(archive_files.c.rows), 0)).where(
            archive_files.c.task == task, archive_files.c.kind == kind, archive_files.c.retired.is_(None)
        )
        with self._engine.connect() as connection:
            return int(connection.execute(query).scalar_one())

    def tasks(self, kind: str) -> list[str]:
        """Tasks of which something is archived."""
        query = select(archive_files.c.task).where(archive_files.c.kind == kind).distinct()
        with self._engine.connect() as connection:
            return sorted(connection.execute(query).scalars())

    def known_paths(self) -> set[str]:
        """Paths of all listed files, those that are retired included."""
        with self._engine.connect() as connection:
            return set(connection.execute(select(archive_files.c.path)).scalars())

    def forget_retired(self, before: float) -> list[str]:
        """Take files off the list that were retired before that time; returns their paths, which may now be removed."""
        with self._engine.begin() as connection:
            gone = archive_files.c.retired < before
            paths = list(connection.execute(select(archive_files.c.path).where(gone)).scalars())
            connection.execute(delete(archive_files).where(gone))
        return paths

    def _list(self, query: Select[Any]) -> list[ArchiveFile]:
        with self._engine.connect() as connection:
            rows = connection.execute(query.order_by(archive_files.c.day, archive_files.c.path)).mappings()
            return [ArchiveFile(**{name: row[name] for name in ArchiveFile.__slots__}) for row in rows]


def _move(connection: Connection, move: Move) -> None:
    if move.before == 0:
        values = {"stream": move.stream, "source": move.source, "position": move.after}
        connection.execute(insert(archive_positions).values(values))
        return
    moved = connection.execute(
        update(archive_positions)
        .where(
            archive_positions.c.stream == move.stream,
            archive_positions.c.source == move.source,
            archive_positions.c.position == move.before,
        )
        .values(position=move.after)
    )
    _expect(moved.rowcount, 1)


def _expect(found: int, wanted: int) -> None:
    if found != wanted:
        raise _ConflictError
