"""Reading people's data files: CSV or JSONL, one text a row. Errors name the file, the row and the column."""

from __future__ import annotations

import csv
import difflib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import DataError
from core.labels import LabelSet

_CSV = {".csv": ",", ".tsv": "\t"}
_JSONL = {".jsonl", ".ndjson"}
_MAX_FIELD = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a data file. `number` is the row as a person counts it: the line for JSONL, the record for CSV."""

    text: str
    label: str | None
    number: int


def read_rows(path: Path, *, text_column: str = "text", label_column: str | None = None) -> list[Row]:
    """Read a CSV, TSV or JSONL file.

    `label_column` None: labels are not looked at. Rows with an empty text are left out. Raises DataError naming the
    file, the row and the column.
    """
    rows = []
    for number, record in _records(path):
        text = _field(path, number, record, text_column)
        label = None if label_column is None else _field(path, number, record, label_column)
        if text:
            rows.append(Row(text, label or None, number))
    if not rows:
        raise DataError(f"{path}: holds no row with a text in column {text_column!r}")
    return rows


def read_columns(path: Path) -> list[str]:
    """Return the names of a file's columns (for JSONL, the keys of its first line)."""
    first = next(_records(path), None)
    if first is None:
        raise DataError(f"{path}: holds no row; give a file with a header and at least one row")
    return list(first[1])


def check_labels(path: Path, rows: Sequence[Row], labels: LabelSet, *, column: str = "label") -> None:
    """Raise DataError for the first row whose label is missing or not one of the task's, with the nearest that is."""
    for row in rows:
        if row.label is None:
            raise DataError(f"{path}, row {row.number}, column {column!r}: the label is missing; fill it in")
        if row.label not in labels:
            near = labels.match(row.label) or labels.nearest(row.label)
            hint = f"did you mean {near!r}?" if near else "add it under `labels`, or mend the row"
            raise DataError(f"{path}, row {row.number}, column {column!r}: the task has no label {row.label!r}; {hint}")


def _records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    suffix = path.suffix.lower()
    if suffix not in _CSV and suffix not in _JSONL:
        raise DataError(f"{path}: is neither .csv, .tsv nor .jsonl; convert it to one of them")
    try:
        # utf-8-sig: spreadsheets put a byte order mark in front, which would become part of the first column's name.
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from _csv_records(path, file, _CSV[suffix]) if suffix in _CSV else _jsonl_records(path, file)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def _csv_records(path: Path, file: Any, delimiter: str) -> Iterator[tuple[int, dict[str, Any]]]:
    csv.field_size_limit(_MAX_FIELD)
    reader = csv.DictReader(file, delimiter=delimiter, strict=True)
    number = 1
    try:
        for number, record in enumerate(reader, start=2):
            if None in record:
                raise DataError(f"{path}, row {number}: has more fields than the header; quote fields that hold commas")
            yield number, record
    except csv.Error as error:
        raise DataError(f"{path}, row {number + 1}: is not valid CSV ({error}); quote the field") from error


def _jsonl_records(path: Path, file: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}, row {number}: is not valid JSON ({error})") from error
        if not isinstance(record, dict):
            raise DataError(f'{path}, row {number}: is not a JSON object; write {{"text": "..."}} on each line')
        yield number, record


def _field(path: Path, number: int, record: dict[str, Any], column: str) -> str:
    """A field without the blanks around it, empty where it is null. Raises DataError where it is missing or no text."""
    if column not in record:
        near = difflib.get_close_matches(column, [str(key) for key in record], n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(repr(key) for key in record)}"
        raise DataError(f"{path}, row {number}: has no column {column!r}; {hint}")
    value = record[column]
    if value is not None and not isinstance(value, str):
        raise DataError(f"{path}, row {number}, column {column!r}: is not a text but {type(value).__name__}; quote it")
    return (value or "").strip()
