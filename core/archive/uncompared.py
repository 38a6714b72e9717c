"""Exchanges that were to be compared, and that the archive holds no comparison of."""

from __future__ import annotations

from typing import Final

import duckdb
import pyarrow as pa

from core.archive.columns import to_exchange, utc
from core.archive.store import Archive
from core.errors import StateError
from core.records import Exchange, Kind

_COMPARED: Final = 'SELECT DISTINCT exchange FROM records WHERE "at" >= $1 AND "at" < $2'
_WANTED: Final = """
    SELECT * FROM records
    WHERE "at" >= $1 AND "at" < $2 AND student_version IS NOT NULL AND (shadow OR answered_by <> 'student')
    AND id NOT IN (SELECT unnest($3::VARCHAR[])) ORDER BY "at", id LIMIT $4
"""


def uncompared(archive: Archive, task: str, begin: float, end: float, limit: int) -> list[Exchange]:
    """Up to `limit` of a task's exchanges from `begin` until `end` (seconds since the epoch), oldest first.

    A comparison bears the time of its exchange, so these hours are all that is read. Blocks. Raises StateError where
    the archive cannot be read, SQLAlchemyError where the ledger cannot.
    """
    span = [utc(begin), utc(end)]
    try:
        compared = archive.query(_COMPARED, task, Kind.COMPARISON, span, since=begin).column(0).to_pylist()
        found = archive.query(_WANTED, task, Kind.EXCHANGE, [*span, compared, limit], since=begin)
    except (OSError, duckdb.Error, pa.ArrowException) as error:
        raise StateError(f"the archive of {task} cannot be read ({error}); make archive.url reachable") from error
    return [to_exchange(row) for row in found.to_pylist()]
