"""Evidently's own report beside ours: classification, and drift against the version's frozen reference.

It is made in a process of its own: Evidently takes hundreds of megabytes and seconds to import. That process is told
labels and numbers, never a text.
"""

from __future__ import annotations

import html
import math
import os
import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from core.archive.columns import to_exchange
from core.errors import DataError
from core.launch import launched
from core.ledger import Ledger
from core.whole_file import write_whole
from monitoring.drift.reference import Reference
from monitoring.drift.rows import Row, row_of
from monitoring.report.archived import Archived
from monitoring.report.window import Window
from monitoring.rules import Rules
from monitoring.snapshot import read_snapshot

_ROWS: Final = 5000
_SECONDS: Final = 300.0
_NUMBERS: Final = ("confidence", "entropy", "length", "words", "non_letters", "oov")
_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval';
 style-src 'unsafe-inline'; img-src data: blob:; font-src data:">
<title>{title}</title>
<style>body {{ font: 15px/1.5 system-ui, sans-serif; margin: 1rem; }}
h1 {{ font-size: 1.3rem; }} h2 {{ font-size: 1.05rem; }}
iframe {{ width: 100%; height: 90vh; border: 1px solid #ccc; }}</style></head>
<body><h1>{title}</h1>
<p>By Evidently. Its thresholds are its own, and all of it is descriptive; what Tutelage calls drift, and how sure that
is, stands in report.html. Comparisons count here as they were drawn, without weights.</p>
{sections}</body></html>
"""


class Sides(msgspec.Struct):
    """What Evidently is told. Columns by name."""

    path: str
    title: str
    labels: tuple[list[str], list[str]]
    """The teacher's and the student's label of each comparison."""
    current: dict[str, list[float | None]]
    current_labels: list[str]
    reference: dict[str, list[float | None]]
    reference_labels: list[str]


def write_evidently(
    path: Path, archived: Archived, ledger: Ledger, task: str, version: str, window: Window, rules: Rules
) -> str:
    """Write Evidently's page; returns an empty text, or why a part of it, or all, is missing.

    Raises StateError where archive or snapshot cannot be read.
    """
    one_in = max(math.ceil(archived.counts()[0] / _ROWS), 1)
    compared = [one for one in archived.comparisons(window, one_in) if one.teacher_label is not None]
    snapshot = read_snapshot(ledger, task)
    drift = None if snapshot is None else snapshot[0].drift
    reference = drift.reference if drift is not None and drift.version == version else None
    if not compared and reference is None:
        return "nothing was compared in this window, and the version has no reference"
    rows = [] if reference is None else _rows(archived, reference, rules)
    known = [] if reference is None else reference.rows
    sides = Sides(
        path=str(path),
        title=f"{task}, version {version}, {window.name}",
        labels=([one.teacher_label or "" for one in compared], [one.student.label for one in compared]),
        current=_numbers(rows, known),
        current_labels=[row.label for row in rows],
        reference=_numbers(known, rows),
        reference_labels=[row.label for row in known],
    )
    try:
        subprocess.run(
            launched((sys.executable, "-m", "monitoring.report.evidently_page")),
            input=msgspec.msgpack.encode(sides),
            check=True,
            timeout=_SECONDS,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
    except subprocess.TimeoutExpired:
        return f"Evidently took more than {_SECONDS:g} seconds"
    except subprocess.CalledProcessError as error:
        last = error.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise DataError(f"Evidently could not write {path}: {' '.join(last)}; leave --evidently away") from error
    return ""


def _rows(archived: Archived, reference: Reference, rules: Rules) -> list[Row]:
    """The window's exchanges as the watch on drift would keep them."""
    exchanges = [to_exchange(row) for row in archived.sample(_ROWS)]
    return [
        row_of(exchange, exchange.student, rules.drift, reference.vocabulary)
        for exchange in exchanges
        if exchange.student is not None
    ]


def _numbers(rows: Sequence[Row], others: Sequence[Row]) -> dict[str, list[float | None]]:
    """The columns that are known on both sides."""
    return {
        name: [None if getattr(row, name) is None else float(getattr(row, name)) for row in rows]
        for name in _NUMBERS
        if all(any(getattr(row, name) is not None for row in side) for side in (rows, others))
    }


def _write(sides: Sides) -> None:
    """Make the page, in the process of its own."""
    os.environ["DO_NOT_TRACK"] = "1"  # read when Evidently is imported
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own dependencies
        sections = (
            [_section("Student and teacher on the same inputs", _classification(sides))] if sides.labels[0] else []
        )
        if sides.current_labels and sides.reference_labels:
            sections.append(_section("Inputs against the version's frozen reference", _drift(sides)))
    page = _PAGE.format(title=html.escape(sides.title), sections="".join(sections))
    write_whole(Path(sides.path), page.encode())


def _classification(sides: Sides) -> Any:
    """The teacher's label as target, the student's as prediction."""
    import pandas as pd
    from evidently import DataDefinition, Dataset, MulticlassClassification, Report
    from evidently.presets import ClassificationPreset

    teacher, student = sides.labels
    definition = DataDefinition(
        categorical_columns=["teacher", "student"],
        classification=[MulticlassClassification(target="teacher", prediction_labels="student")],
    )
    frame = pd.DataFrame({"teacher": teacher, "student": student})
    return Report([ClassificationPreset()]).run(Dataset.from_pandas(frame, data_definition=definition), None)


def _drift(sides: Sides) -> Any:
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    definition = DataDefinition(numerical_columns=list(sides.current), categorical_columns=["label"])
    now, before = (
        Dataset.from_pandas(pd.DataFrame({"label": labels} | numbers), data_definition=definition)
        for labels, numbers in (
            (sides.current_labels, sides.current),
            (sides.reference_labels, sides.reference),
        )
    )
    return Report([DataDriftPreset()]).run(now, before)


def _section(title: str, snapshot: Any) -> str:
    page = html.escape(snapshot.get_html_str(as_iframe=False), quote=True)
    return f'<h2>{title}</h2><iframe title="{title}" srcdoc="{page}"></iframe>\n'


if __name__ == "__main__":
    _write(msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Sides))
