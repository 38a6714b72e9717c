"""What the archive holds of a stream, and a reader that fell behind has not read: records by their places in logs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import duckdb
import pyarrow as pa

from core.archive.columns import Row, to_comparison, to_exchange, to_feedback
from core.archive.store import Archive
from core.errors import StateError
from core.journal import stream_parts
from core.ledger import Ledger
from core.records import Kind, Record

_RECORD: Final[Mapping[Kind, Callable[[Mapping[str, Any]], Record]]] = {
    Kind.EXCHANGE: to_exchange,
    Kind.FEEDBACK: to_feedback,
    Kind.COMPARISON: to_comparison,
}

# The largest time so far never falls along a source, so that its records keep their order; across sources it orders
# them by time.
_SQL: Final = """
    SELECT r.* FROM records r JOIN (VALUES {values}) AS wanted(source, have, until)
    ON r.log_source = wanted.source AND r.log_offset > wanted.have AND r.log_offset <= wanted.until
    ORDER BY max(r."at") OVER (PARTITION BY r.log_source ORDER BY r.log_offset), r.log_source, r.log_offset
    LIMIT ?
"""


def unread(
    archive: Archive,
    ledger: Ledger,
    stream: str,
    wanted: Mapping[str, tuple[int, int]],
    *,
    limit: int,
    created_after: float = 0.0,
) -> list[Row]:
    """The first `limit` records of a stream behind the offsets that were read: those of a source in their order.

    `wanted`: by source, the offset up to which it was read, and the one up to which it is wanted. `created_after`
    (seconds since the epoch) leaves out files that were written before. Sources are merged by time, about. Blocks.
    Raises StateError where the archive cannot be read, SQLAlchemyError where the ledger cannot.
    """
    task, kind = stream_parts(stream)
    files = [file for file in ledger.archive_index.files(task, kind.value) if file.created >= created_after]
    if not files or not wanted:
        return []
    sql = _SQL.format(values=", ".join(["(?, ?, ?)"] * len(wanted)))
    parameters = [value for source, (have, until) in wanted.items() for value in (source, have, until)]
    try:
        rows = archive.query_files(sql, files, kind, [*parameters, limit]).to_pylist()
    except (OSError, duckdb.Error, pa.ArrowException) as error:
        raise StateError(
            f"the archive of {stream} cannot be read ({error}); make archive.url reachable: what the stream lost is "
            "read there"
        ) from error
    return [Row(row["log_source"], row["log_offset"], _RECORD[kind](row)) for row in rows]
