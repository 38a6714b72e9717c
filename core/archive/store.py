"""Writing and reading the archive.

    <root>/<task>/<kind>/day=2025-06-01/<id>.parquet

A file counts once the ledger lists it (see `core.ledger.archive_index`). Its id begins with the ledger's: a sweep
removes leftovers of this ledger only, never the files of another that shares the folder, nor of one that was lost.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import duckdb
import fsspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem
from pyarrow.dataset import Dataset, dataset

from core.archive.columns import Row, arrow_schema, by_day, repeated_columns, to_exchange, to_table, utc
from core.ids import mint, minted_at
from core.journal import stream_parts
from core.ledger import ArchiveFile, Ledger, Move
from core.records import Exchange, Kind

_SUFFIX: Final = ".parquet"
_LEFTOVER_SECONDS: Final = 900.0
_COMMIT_SECONDS: Final = 300.0
_CLOCK_SECONDS: Final = 3600.0
_MERGE_FILES: Final = 32


class Archive:
    """The archive below an fsspec URL or a folder. Calls block; asynchronous callers use a thread. Thread-safe.

    Every method raises OSError (or what the URL's filesystem raises) where the files cannot be reached, and
    sqlalchemy.exc.SQLAlchemyError where the ledger cannot.
    """

    def __init__(self, url: str, ledger: Ledger) -> None:
        self._fs, self._root = fsspec.core.url_to_fs(url)
        self._local = isinstance(self._fs, LocalFileSystem)
        self._index = ledger.archive_index
        self._prefix = f"a{ledger.id}"

    def append(
        self, stream: str, rows: Sequence[Row], moves: Sequence[Move], file_rows: int, revision: int | None = None
    ) -> bool:
        """Archive rows of a stream and move the positions that they cover, all or nothing.

        At most `file_rows` rows go in a file. False: a position was not where the caller believed it, somebody else
        has archived meanwhile, or there are tombstones newer than `revision`; nothing is archived.
        """
        files = self.write(stream, rows, file_rows)
        # A file so old may have been swept as a leftover: this process was stopped for a while. Write it again.
        if files and time.time() - min(file.created for file in files) > _COMMIT_SECONDS:
            self.delete(file.path for file in files)
            return False
        if self._index.commit(files, moves, revision):
            return True
        self.delete(file.path for file in files)
        return False

    def write(self, stream: str, rows: Sequence[Row], file_rows: int) -> list[ArchiveFile]:
        """Write rows of a stream into files that do not count yet, one or more a day."""
        task, kind = stream_parts(stream)
        return [
            self.write_file(task, kind, day, to_table(part[start : start + file_rows], kind))
            for day, part in sorted(by_day(rows).items())
            for start in range(0, len(part), file_rows)
        ]

    def count(self, task: str, kind: Kind = Kind.EXCHANGE) -> int:
        """Records archived."""
        return self._index.count(task, kind.value)

    def query(
        self,
        sql: str,
        task: str,
        kind: Kind = Kind.EXCHANGE,
        parameters: Sequence[Any] = (),
        since: float | None = None,
    ) -> pa.Table:
        """Run a query of DuckDB's SQL over the view `records`: all of a task and kind (`at` needs quotes there).

        `since` (seconds since the epoch) leaves out files that are older, not rows. The query reaches nothing else than
        these files. Raises duckdb.Error where the SQL is wrong, ValueError where it is no query.
        """
        return self.query_files(sql, self._index.files(task, kind.value, since=since), kind, parameters)

    def exchanges(self, task: str, since: float | None = None, limit: int | None = None) -> pa.Table:
        """Exchanges from `since` (seconds since the epoch) on, ordered by time; with `limit`, the newest ones."""
        return self._newest(task, Kind.EXCHANGE, since, limit)

    def comparisons(self, task: str, since: float | None = None, limit: int | None = None) -> pa.Table:
        """The same for comparisons, by the time of their exchanges.

        A comparison may be there twice under two ids, where a shadow worker was killed: the exchange's id tells.
        """
        return self._newest(task, Kind.COMPARISON, since, limit)

    def find(self, identifier: str, task: str | None = None) -> Exchange | None:
        """The exchange with this id, or whose upstream called its completion so; None where there is none.

        An id of ours says when it was minted, which is when the request came: only files of that time are read.
        """
        window: dict[str, float] = {}
        try:
            minted = minted_at(identifier)
            window = {"since": minted - _CLOCK_SECONDS, "until": minted + _CLOCK_SECONDS}
        except ValueError:
            pass  # an upstream's id, which may be of any time
        sql = "SELECT * FROM records WHERE id = $1 OR completion_id = $1 LIMIT 1"
        for name in [task] if task is not None else self._index.tasks(Kind.EXCHANGE.value):
            files = self._index.files(name, Kind.EXCHANGE.value, **window)
            found = self.query_files(sql, files, Kind.EXCHANGE, [identifier]).to_pylist() if files else []
            if found:
                return to_exchange(found[0])
        return None

    def merge(self, task: str, kind: Kind, file_rows: int) -> int:
        """Merge small files of a day into one of up to `file_rows` rows; returns how many went in.

        An archive that is flushed every few seconds would otherwise be all openings of files. The old ones stay for a
        while for readers that began before; `sweep` removes them.
        """
        days: dict[str, list[ArchiveFile]] = defaultdict(list)
        for file in self._index.files(task, kind.value):
            if file.rows <= file_rows // 2:
                days[file.day].append(file)
        merged = 0
        for day, files in days.items():
            batch = _fitting(files, file_rows)
            if len(batch) < _MERGE_FILES:
                continue
            table = self.query_files("SELECT * FROM records", batch, kind, ())
            new = self.write_file(task, kind, day, table.cast(arrow_schema(kind)))
            if self._index.replace(batch, new, time.time()):
                merged += len(batch)
            else:
                self.delete([new.path])
        return merged

    def sweep(self) -> int:
        """Remove files that were written and never listed, and those merged into others; returns how many.

        Only files of this ledger that are older than a quarter of an hour: nobody can still be about to list them.
        """
        before = time.time() - _LEFTOVER_SECONDS
        # What is there is listed first: a file that is committed in between is then known, and stays.
        there = [path for path in self._walk() if _is_older(path, self._prefix, before)]
        gone = self._index.forget_retired(before)
        known = self._index.known_paths()
        leftovers = sorted({*gone, *(path for path in there if path not in known)})
        self.delete(leftovers)
        return len(leftovers)

    def _newest(self, task: str, kind: Kind, since: float | None, limit: int | None) -> pa.Table:
        sql = """
            SELECT * FROM (SELECT * FROM records WHERE "at" >= ? ORDER BY "at" DESC, id DESC LIMIT ?)
            ORDER BY "at", id
        """
        return self.query(sql, task, kind, parameters=[utc(since or 0), limit], since=since)

    def write_file(self, task: str, kind: Kind, day: str, table: pa.Table) -> ArchiveFile:
        """Write a day's rows into a file that does not count yet."""
        created = time.time()
        path = f"{task}/{kind.value}/day={day}/{mint(self._prefix)}{_SUFFIX}"
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd", use_dictionary=repeated_columns(kind))
        data = sink.getvalue().to_pybytes()
        self._put(path, data)
        times = pc.min_max(table.column("at").cast(pa.int64()))
        low, high = times["min"].as_py() / 1e6, times["max"].as_py() / 1e6
        return ArchiveFile(path, task, kind.value, day, table.num_rows, len(data), low, high, created)

    def _put(self, path: str, data: bytes) -> None:
        """Write a file, and where it is on this machine's disk, all the way there: logs are deleted on our word."""
        full = self._full(path)
        if not self._local:
            self._fs.pipe_file(full, data)
            return
        target = Path(full)
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        for folder in (target.parent, target.parent.parent):
            handle = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)

    def query_files(self, sql: str, files: Sequence[ArchiveFile], kind: Kind, parameters: Sequence[Any]) -> pa.Table:
        """Run SQL over these files, with no access to anything else."""
        records = self.open_files(files, kind)
        with duckdb.connect(config={"enable_external_access": False}) as connection:
            connection.register("records", records)
            connection.execute("SET TimeZone = 'UTC'; SET lock_configuration = true")
            answer = connection.sql(sql, params=list(parameters))
            if answer is None:
                raise ValueError("the SQL is no query; it must begin with SELECT or WITH")
            return answer.to_arrow_table()

    def open_files(self, files: Sequence[ArchiveFile], kind: Kind) -> Dataset:
        """These files as one data set of pyarrow's. A column that older files lack is null there."""
        paths = [self._full(file.path) for file in files]
        return dataset(paths, schema=arrow_schema(kind), format="parquet", filesystem=self._fs)

    def _full(self, path: str) -> str:
        return f"{self._root.rstrip('/')}/{path}"

    def _walk(self) -> list[str]:
        start = f"{self._root.rstrip('/')}/"
        return [name.removeprefix(start) for name in self._fs.find(self._root) if name.endswith(_SUFFIX)]

    def delete(self, paths: Iterable[str]) -> None:
        """Remove files that do not count, or no more; those that are gone already are passed over."""
        for path in paths:
            try:
                self._fs.rm_file(self._full(path))
            except FileNotFoundError:
                continue


def _fitting(files: Sequence[ArchiveFile], file_rows: int) -> list[ArchiveFile]:
    """The first files that together have at most `file_rows` rows."""
    rows, fitting = 0, []
    for file in files:
        rows += file.rows
        if rows > file_rows:
            break
        fitting.append(file)
    return fitting


def _is_older(path: str, prefix: str, before: float) -> bool:
    stem = path.rpartition("/")[2].removesuffix(_SUFFIX)
    try:
        return stem.startswith(f"{prefix}_") and minted_at(stem) < before
    except ValueError:
        return False
