"""The archive's columns: one for every field of a record, typed, and back again.

`student`, `challenger` and `usage` are flattened. `log_source` and `log_offset` say where the record came from: no two
rows of a task and kind share them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import pyarrow as pa

from core.records import (
    SCHEMA,
    Answerer,
    Comparison,
    Exchange,
    Feedback,
    Kind,
    Outcome,
    Reason,
    Record,
    StudentAnswer,
    Usage,
    kind_of,
)


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
    ("teacher_distribution", pa.binary()),
    ("completion_id", pa.string()),
    ("request_id", pa.string()),
    ("user", pa.string()),
    ("cost_usd", pa.float64()),
    ("streamed", pa.bool_()),
    ("complete", pa.bool_()),
    ("total_ms", pa.float64()),
    ("upstream_ms", pa.float64()),
    ("error", pa.string()),
    ("shadow_probability", pa.float64()),
    ("shadow", pa.bool_()),
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

_COMPARISON: Final[list[tuple[str, pa.DataType]]] = [
    ("id", pa.string()),
    ("task", pa.string()),
    ("exchange", pa.string()),
    ("at", _TIME),
    ("compared_at", _TIME),
    ("outcome", pa.string()),
    ("probability", pa.float64()),
    ("served_by", pa.string()),
    ("teacher_label", pa.string()),
    ("teacher_distribution", pa.binary()),
    ("cluster", pa.string()),
    ("text", pa.string()),
    ("cost_usd", pa.float64()),
    ("error", pa.string()),
    ("schema", pa.int32()),
]

_PLAIN: Final = {Kind.EXCHANGE: _EXCHANGE, Kind.FEEDBACK: _FEEDBACK, Kind.COMPARISON: _COMPARISON}
_ANSWERS: Final = {Kind.EXCHANGE: ("student",), Kind.FEEDBACK: (), Kind.COMPARISON: ("student", "challenger")}
"""Fields that hold a student's answer; their columns begin with the field's name."""

_EPOCH: Final = datetime.fromtimestamp(0, UTC)


def arrow_schema(kind: Kind) -> pa.Schema:
    """The columns of a kind; the file's metadata says which version of the records' schema they follow."""
    fields = [*_PLAIN[kind]]
    for answer in _ANSWERS[kind]:
        fields += [(f"{answer}_{name}", type_) for name, type_ in _STUDENT]
    if kind is Kind.EXCHANGE:
        fields += _USAGE
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
    values = _values(row, Kind.EXCHANGE)
    values["answered_by"] = Answerer(values["answered_by"])
    values["reason"] = Reason(values["reason"])
    values["usage"] = Usage(**{name: row[name] for name, _ in _USAGE})
    return Exchange(**values)


def to_feedback(row: Mapping[str, Any]) -> Feedback:
    """The feedback of a row."""
    return Feedback(**_values(row, Kind.FEEDBACK))


def to_comparison(row: Mapping[str, Any]) -> Comparison:
    """The comparison of a row (times to the microsecond)."""
    values = _values(row, Kind.COMPARISON)
    values["outcome"] = Outcome(values["outcome"])
    values["served_by"] = Answerer(values["served_by"])
    return Comparison(**values)


def _values(row: Mapping[str, Any], kind: Kind) -> dict[str, Any]:
    """A row's values by field. What is null is left to the field's default: an older file may lack the column."""
    values = {name: row[name] for name, _ in _PLAIN[kind] if row[name] is not None}
    values |= {name: value.timestamp() for name, value in values.items() if isinstance(value, datetime)}
    for answer in _ANSWERS[kind]:
        if row[f"{answer}_version"] is not None:
            values[answer] = StudentAnswer(**{name: row[f"{answer}_{name}"] for name, _ in _STUDENT})
    return values


_Reader = Callable[[Row], Any]


def _readers(kind: Kind) -> dict[str, _Reader]:
    """For each column, what takes its value out of a row."""
    readers: dict[str, _Reader] = {"log_source": lambda row: row.source, "log_offset": lambda row: row.offset}
    readers |= {name: _time(name) if type_ is _TIME else _plain(name) for name, type_ in _PLAIN[kind]}
    for answer in _ANSWERS[kind]:
        readers |= {f"{answer}_{name}": _nested(answer, name) for name, _ in _STUDENT}
    if kind is Kind.EXCHANGE:
        readers |= {name: _nested("usage", name) for name, _ in _USAGE}
    return readers


def _plain(name: str) -> _Reader:
    return lambda row: getattr(row.record, name)


def _time(name: str) -> _Reader:
    return lambda row: utc(getattr(row.record, name))


def _nested(outer: str, name: str) -> _Reader:
    def read(row: Row) -> Any:
        inner = getattr(row.record, outer)
        return None if inner is None else getattr(inner, name)

    return read
