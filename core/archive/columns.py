"""The archive's columns: one for every field of a record, typed, and back again.

`student` and `usage` are flattened. `log_source` and `log_offset` say where the record came from: no two rows of a task
and kind share them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import pyarrow as pa

from core.records import SCHEMA, Answerer, Exchange, Feedback, Kind, Reason, Record, StudentAnswer, Usage, kind_of


class Row(NamedTuple):
    """A record and its place in a gateway worker's log."""

    source: str
    offset: int
    """Behind the record."""
    record: Record


_ORIGIN: Final[list[tuple[str, pa.DataType]]] = [("log_source", pa.string()), ("log_offset", pa.int64())]
_TIME: Final = pa.timestamp("us", tz="UTC")

_STUDENT: Final[list[tuple[str, pa.DataType]]] = [
    ("version", pa.string()),
    ("label", pa.string()),
    ("confidence", pa.float64()),
    ("label_set", pa.string()),
    ("distribution", pa.binary()),
    ("vector", pa.binary()),
]

_USAGE: Final[list[tuple[str, pa.DataType]]] = [("prompt_tokens", pa.int64()), ("completion_tokens", pa.int64())]

_EXCHANGE: Final[list[tuple[str, pa.DataType]]] = [
    ("id", pa.string()),
    ("task", pa.string()),
    ("at", _TIME),
    ("answered_by", pa.string()),
    ("reason", pa.string()),
    ("status", pa.int32()),
    ("model", pa.string()),
    ("version", pa.string()),
    ("template", pa.string()),
    ("text", pa.string()),
    ("request", pa.binary()),
    ("output", pa.string()),
    ("label", pa.string()),
    ("completion_id", pa.string()),
    ("request_id", pa.string()),
    ("user", pa.string()),
    ("cost_usd", pa.float64()),
    ("streamed", pa.bool_()),
    ("complete", pa.bool_()),
    ("total_ms", pa.float64()),
    ("upstream_ms", pa.float64()),
    ("error", pa.string()),
    ("schema", pa.int32()),
]

_FEEDBACK: Final[list[tuple[str, pa.DataType]]] = [
    ("id", pa.string()),
    ("task", pa.string()),
    ("exchange", pa.string()),
    ("label", pa.string()),
    ("at", _TIME),
    ("comment", pa.string()),
    ("source", pa.string()),
    ("schema", pa.int32()),
]

_STUDENT_PREFIX: Final = "student_"
_EPOCH: Final = datetime.fromtimestamp(0, UTC)


def arrow_schema(kind: Kind) -> pa.Schema:
    """The columns of a kind; the file's metadata says which version of the records' schema they follow."""
    fields = [*_FEEDBACK]
    if kind is Kind.EXCHANGE:
        fields = [*_EXCHANGE, *((_STUDENT_PREFIX + name, type_) for name, type_ in _STUDENT), *_USAGE]
    return pa.schema(fields + _ORIGIN, metadata={"tutelage.schema": str(SCHEMA), "tutelage.kind": kind.value})


def to_table(rows: Sequence[Row], kind: Kind) -> pa.Table:
    """Rows of one kind as a table of its columns."""
    schema = arrow_schema(kind)
    readers = _readers(kind)
    return pa.table(
        [pa.array([readers[field.name](row) for row in rows], type=field.type) for field in schema], schema=schema
    )


def utc(at: float) -> datetime:
    """Seconds since the epoch as a time. Raises ValueError or OverflowError beyond the calendar."""
    return _EPOCH + timedelta(seconds=at)


def fits(row: Row) -> bool:
    """Whether a record's values fit its columns."""
    try:
        to_table([row], kind_of(row.record))
    except (ValueError, OverflowError):
        return False
    return True


def to_exchange(row: Mapping[str, Any]) -> Exchange:
    """The exchange of a row, as it was before it was archived (`at` to the microsecond)."""
    values = {name: row[name] for name, _ in _EXCHANGE}
    values["at"] = values["at"].timestamp()
    values["answered_by"] = Answerer(values["answered_by"])
    values["reason"] = Reason(values["reason"])
    values["usage"] = Usage(**{name: row[name] for name, _ in _USAGE})
    if row[_STUDENT_PREFIX + "version"] is not None:
        values["student"] = StudentAnswer(**{name: row[_STUDENT_PREFIX + name] for name, _ in _STUDENT})
    return Exchange(**values)


def to_feedback(row: Mapping[str, Any]) -> Feedback:
    """The feedback of a row."""
    values = {name: row[name] for name, _ in _FEEDBACK}
    values["at"] = values["at"].timestamp()
    return Feedback(**values)


_Reader = Callable[[Row], Any]


def _readers(kind: Kind) -> dict[str, _Reader]:
    """For each column, what takes its value out of a row."""
    readers: dict[str, _Reader] = {"log_source": lambda row: row.source, "log_offset": lambda row: row.offset}
    readers |= {name: _plain(name) for name, _ in (_EXCHANGE if kind is Kind.EXCHANGE else _FEEDBACK)}
    readers["at"] = lambda row: utc(row.record.at)
    if kind is Kind.EXCHANGE:
        readers |= {_STUDENT_PREFIX + name: _nested("student", name) for name, _ in _STUDENT}
        readers |= {name: _nested("usage", name) for name, _ in _USAGE}
    return readers


def _plain(name: str) -> _Reader:
    return lambda row: getattr(row.record, name)


def _nested(outer: str, name: str) -> _Reader:
    def read(row: Row) -> Any:
        inner = getattr(row.record, outer)
        return None if inner is None else getattr(inner, name)

    return read
