"""The archive's columns: one for every field of a record, typed, and back again.

`student`, `challenger` and `usage` are flattened. `log_source` and `log_offset` say where the record came from: no two
rows of a task and kind share them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
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
    ("key", pa.string()),
    ("cost_usd", pa.float64()),
    ("streamed", pa.bool_()),
    ("complete", pa.bool_()),
    ("total_ms", pa.float64()),
    ("upstream_ms", pa.float64()),
    ("error", pa.string()),
    ("shadow_probability", pa.float64()),
    ("shadow", pa.bool_()),
    ("text_hash", pa.string()),
    ("output_hash", pa.string()),
    ("redacted", pa.bool_()),
    ("canary", pa.string()),
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
    ("redacted", pa.bool_()),
    ("again", pa.string()),
    ("again_probability", pa.float64()),
    ("teacher_again", pa.string()),
    ("schema", pa.int32()),
]

_PLAIN: Final = {Kind.EXCHANGE: _EXCHANGE, Kind.FEEDBACK: _FEEDBACK, Kind.COMPARISON: _COMPARISON}
_ANSWERS: Final = {Kind.EXCHANGE: ("student",), Kind.FEEDBACK: (), Kind.COMPARISON: ("student", "challenger")}
"""Fields that hold a student's answer; their columns begin with the field's name."""

_FEW: Final = frozenset(
    {"task", "answered_by", "reason", "outcome", "served_by", "model", "version", "template", "label", "label_set"}
    | {"teacher_label", "again", "teacher_again", "challenger_version", "challenger_label", "key", "canary"}
    | {"log_source"}
)

_EPOCH: Final = datetime.fromtimestamp(0, UTC)
_FIRST_TIME: Final = datetime(1, 1, 1, tzinfo=UTC).timestamp()
_LAST_TIME: Final = datetime(9999, 12, 31, tzinfo=UTC).timestamp()
_DAY_MICROSECONDS: Final = 86_400_000_000


def arrow_schema(kind: Kind) -> pa.Schema:
    """The columns of a kind; the file's metadata says which version of the records' schema they follow."""
    fields = [*_PLAIN[kind]]
    for answer in _ANSWERS[kind]:
        fields += [(f"{answer}_{name}", type_) for name, type_ in _STUDENT]
    if kind is Kind.EXCHANGE:
        fields += _USAGE
    return pa.schema(fields + _ORIGIN, metadata={"tutelage.schema": str(SCHEMA), "tutelage.kind": kind.value})


def to_table(rows: Sequence[Row], kind: Kind) -> pa.Table:
    """Rows of one kind as a table of its columns.

    Raises ValueError or OverflowError where a value fits no column.
    """
    columns = _columns(rows, kind)
    schema = arrow_schema(kind)
    return pa.table([pa.array(columns[field.name], type=field.type) for field in schema], schema=schema)


def repeated_columns(kind: Kind) -> list[str]:
    """Columns whose values are few: the others are written without a dictionary, which is faster and smaller."""
    return [field.name for field in arrow_schema(kind) if field.name.removeprefix("student_") in _FEW]


def by_day(rows: Sequence[Row]) -> dict[str, Sequence[Row]]:
    """Rows by their records' day (UTC, as 2025-06-01), in order within each.

    Raises ValueError or OverflowError where a time is beyond the calendar.
    """
    days = _microseconds([row.record.at for row in rows]) // _DAY_MICROSECONDS
    names = {int(day): utc(int(day) * 86_400.0).date().isoformat() for day in np.unique(days)}
    if len(names) == 1:
        return dict.fromkeys(names.values(), rows)
    return {name: [rows[at] for at in np.flatnonzero(days == day).tolist()] for day, name in names.items()}


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
    if "again" in values:
        values["again"] = Outcome(values["again"])
    return Comparison(**values)


def _values(row: Mapping[str, Any], kind: Kind) -> dict[str, Any]:
    """A row's values by field. What is null is left to the field's default: an older file may lack the column."""
    values = {name: row[name] for name, _ in _PLAIN[kind] if row[name] is not None}
    values |= {name: value.timestamp() for name, value in values.items() if isinstance(value, datetime)}
    for answer in _ANSWERS[kind]:
        if row[f"{answer}_version"] is not None:
            values[answer] = StudentAnswer(**{name: row[f"{answer}_{name}"] for name, _ in _STUDENT})
    return values


def _columns(rows: Sequence[Row], kind: Kind) -> dict[str, Any]:
    """The values of each column. One column after the other: row by row would take several times as long."""
    records = [row.record for row in rows]
    columns: dict[str, Any] = {
        "log_source": [row.source for row in rows],
        "log_offset": [row.offset for row in rows],
    }
    for name, type_ in _PLAIN[kind]:
        values = list(map(attrgetter(name), records))
        columns[name] = _microseconds(values) if type_ is _TIME else values
    for answer in _ANSWERS[kind]:
        answers = list(map(attrgetter(answer), records))
        for name, _ in _STUDENT:
            columns[f"{answer}_{name}"] = [None if one is None else getattr(one, name) for one in answers]
    if kind is Kind.EXCHANGE:
        columns |= {name: list(map(attrgetter(f"usage.{name}"), records)) for name, _ in _USAGE}
    return columns


def _microseconds(times: Sequence[float]) -> npt.NDArray[np.int64]:
    """Seconds since the epoch in microseconds, rounded as `utc` does. Raises ValueError beyond the calendar."""
    seconds = np.array(times, dtype=np.float64)
    if not np.all((seconds >= _FIRST_TIME) & (seconds < _LAST_TIME)):  # false for what is no number, too
        raise ValueError("a time is beyond the calendar")
    whole = np.floor(seconds)
    return whole.astype(np.int64) * 1_000_000 + np.rint((seconds - whole) * 1e6).astype(np.int64)
