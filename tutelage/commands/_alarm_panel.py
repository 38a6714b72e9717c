"""One alarm on a terminal: sentences for a person, and the numbers that they rest on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from core.ledger import Alarm, AlarmState, Ledger, Severity
from core.settings import Settings
from monitoring.notify.message import how_sure, what_happened, what_is_next, what_it_costs, what_was_done
from monitoring.telling import moment, percent, quotes

_COLOURS: Final = {Severity.INFO: "blue", Severity.WARNING: "yellow", Severity.CRITICAL: "red"}
_AGREEMENTS: Final = {
    "student_agreement": "of the student, since the change",
    "sure_agreement": "of answers sure enough to be given, since the change",
    "recent_agreement": "of the student, of late",
    "version_agreement": "of the student, since the version began",
    "served_agreement": "of what clients received, of late",
    "version_served_agreement": "of what clients received, since the version began",
    "noise_ceiling": "of the teacher with itself, asked twice",
}
_SAID: Final = {
    *("what", "sure", "baseline", "since", "withdrawn", "kept", "budget", "costs", "threshold", "teacher_share"),
    "examples",
}
"""Evidence that the sentences hold; `_DRAWN`: that the tables do."""
_DRAWN: Final = {*_AGREEMENTS, "classes", "bands", "signals"}


def show_alarm(screen: Console, alarm: Alarm, settings: Settings, ledger: Ledger, now: float) -> None:
    """Draw one alarm with all of its evidence. `now`: seconds since the epoch."""
    shown = [_sentences(alarm, settings, ledger, now), *_tables(alarm)]
    title = f"{alarm.id}: {alarm.cause.replace('_', ' ')} of {alarm.task}, version {alarm.version}"
    colour = "green" if alarm.state is AlarmState.RESOLVED else _COLOURS[alarm.severity]
    subtitle = f"{alarm.severity.value}, {alarm.state.value}"
    screen.print(Panel(Group(*shown), title=title, subtitle=subtitle, border_style=colour))


def _sentences(alarm: Alarm, settings: Settings, ledger: Ledger, now: float) -> RenderableType:
    task = settings.tasks.get(alarm.task)
    lines = [
        ("What happened", what_happened(alarm)),
        ("How sure", how_sure(alarm)),
        ("Opened", f"{moment(alarm.opened)}; the evidence is as of {moment(alarm.updated)}"),
        ("Done so far", what_was_done(alarm)),
    ]
    if task is not None:
        lines.append(("Cost", what_it_costs(alarm, task, ledger)))
        lines.append(("Next", what_is_next(alarm, task, ledger, now)))
    if alarm.resolved is not None:
        lines.append(("Resolved", f"{moment(alarm.resolved)}: {alarm.note}"))
    elif alarm.note:
        lines.append(("Note", alarm.note))
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, told in lines:
        grid.add_row(name, Text(told[:1].upper() + told[1:]))
    return grid


def _tables(alarm: Alarm) -> Iterable[RenderableType]:
    evidence = alarm.evidence
    found = {name: evidence[name] for name in _AGREEMENTS if isinstance(evidence.get(name), dict)}
    agreements = [(name, one) for name, one in found.items() if one.get("estimate") is not None]
    if agreements:
        table = _table("agreement with the teacher", "estimate", "between", "and", "comparisons")
        for name, one in agreements:
            numbers = [one.get("estimate"), *(one.get("interval") or [None, None])]
            table.add_row(_AGREEMENTS[name], *map(_share, numbers), f"{one['comparisons']:,}")
        yield table
    if evidence.get("classes"):
        yield _losses("class that lost", evidence["classes"], lambda row: str(row.get("label", "")))
    if evidence.get("bands"):
        yield _losses("confidence that lost", evidence["bands"], lambda row: f"{row['from']:g} to {row['to']:g}")
    if evidence.get("signals"):
        yield _records("signals", evidence["signals"])
    for name, value in evidence.items():
        if name not in _SAID | _DRAWN and value not in (None, "", [], {}):
            yield _other(name, value)
    lines = quotes(alarm)
    if lines:
        yield Text("Examples\n" + "\n".join(lines))


def _losses(what: str, rows: Sequence[Mapping[str, Any]], named: Callable[[Mapping[str, Any]], str]) -> RenderableType:
    """Agreement before and since the change, a row for each class or band; other causes' rows as they come."""
    if not all("after_comparisons" in row for row in rows):
        return _records(what, rows)
    table = _table(what, "before", "comparisons", "since", "comparisons", "p")
    for row in rows:
        before, after = f"{row['before_comparisons']:,.0f}", f"{row['after_comparisons']:,.0f}"
        table.add_row(named(row), _share(row["before"]), before, _share(row["after"]), after, f"{row['p_value']:.3g}")
    return table


def _other(name: str, value: Any) -> RenderableType:
    """What a cause has put into the evidence beside what is common to all."""
    if isinstance(value, list) and all(isinstance(row, dict) for row in value):
        return _records(name, value)
    if isinstance(value, dict) and value and all(not isinstance(one, dict | list) for one in value.values()):
        return _records(name, [value])
    return Text(f"{name.replace('_', ' ')}: {_plain(value)}")


def _records(what: str, rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    table = _table(*(name.replace("_", " ") for name in columns), title=what.replace("_", " "))
    for row in rows:
        table.add_row(*(_plain(row.get(name, "")) for name in columns))
    return table


def _table(*columns: str, title: str | None = None) -> Table:
    table = Table(title=title, title_justify="left")
    for at, column in enumerate(columns):
        table.add_column(column, justify="right" if at else "left", overflow="fold")
    return table


def _share(value: float | None) -> str:
    return "-" if value is None else percent(value)


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
