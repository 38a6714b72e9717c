"""What `tutelage review` shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from core.labels import LabelSet
from core.ledger import Review, ReviewState, Why
from tutelage.commands._template_screen import printable

if TYPE_CHECKING:
    from rich.console import Console

_TABLE_CHARACTERS: Final = 60
_TEXT_CHARACTERS: Final = 4000
_NO_TEXT: Final = "(its text is not kept)"


def show_table(screen: Console, entries: Sequence[Review]) -> None:
    """Print entries as a table."""
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for column in ("id", "task", "why", "student", "sure", "teacher", "sure", "state", "text"):
        table.add_column(column, justify="right" if column == "sure" else "left", overflow="fold")
    for one in entries:
        student = (one.student, _share(one.confidence)) if one.student else ("-", "-")
        cells = (one.id, one.task, one.why.value, *student, one.teacher, _share(one.teacher_confidence), _outcome(one))
        text = printable(one.text, _TABLE_CHARACTERS) if one.text else _NO_TEXT
        table.add_row(*(Text(printable(cell)) for cell in cells), Text(text))
    screen.print(table)


def show_entry(screen: Console, one: Review, place: str) -> None:
    """Print all that a verdict needs, and what may be typed."""
    screen.print(f"\n[bold]{place}[/bold]  {one.task}, {_when(one.created)}: {_why(one)}")
    screen.print(f"\n    {printable(one.text, _TEXT_CHARACTERS) if one.text else _NO_TEXT}\n", markup=False)
    if one.student == one.teacher:
        _show_label(screen, "[t]eacher and student", one.teacher, one.teacher_confidence)
    else:
        if one.student:
            _show_label(screen, "[s]tudent", one.student, one.confidence)
        _show_label(screen, "[t]eacher", one.teacher, one.teacher_confidence)
    both = "[b]oth do equally well, " if one.student and one.student != one.teacher else ""
    screen.print(
        f"    {both}or a label's name or number; [l]abels, [n]ote, [q]uit; Enter skips", markup=False, style="dim"
    )


def show_labels(screen: Console, labels: LabelSet) -> None:
    """Print the labels under their numbers."""
    for number, name in enumerate(labels.names, start=1):
        screen.print(f"    {number:>4}  {name}", markup=False)


def as_document(one: Review) -> dict[str, Any]:
    """An entry for scripts."""
    values = asdict(one)
    for internal in ("sequence", "cluster"):
        del values[internal]
    return values | {"right": None if one.right is None else one.right.value}


def _show_label(screen: Console, who: str, label: str, confidence: float | None) -> None:
    sure = "" if confidence is None else f"  ({_share(confidence)} sure)"
    screen.print(f"    {who}: {printable(label)}{sure}", markup=False)


def _why(one: Review) -> str:
    if one.why is Why.RED_TEAM:
        return "drawn at random from the teacher's surest answers of this class"
    return f"version {one.version} was sure, and the teacher disagrees"


def _outcome(one: Review) -> str:
    if one.state is not ReviewState.JUDGED or one.right is None:
        return one.state.value
    return f"{one.verdict} ({one.right.value} right)"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _when(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M")
