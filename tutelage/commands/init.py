"""`tutelage init`."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.errors import DataError, SettingsError
from core.prices import price_of
from core.settings import load_settings

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from tutelage.commands._survey import Survey

_SHOWN = 12


def init(
    data: Annotated[Path, typer.Argument(help="CSV or JSONL with one text a row, labelled or not.")],
    task: Annotated[str | None, typer.Option(help="Name of the task; by default that of the file.")] = None,
    text_column: Annotated[
        str | None, typer.Option(help="Column of the text; guessed where it has a usual name.")
    ] = None,
    label_column: Annotated[str | None, typer.Option(help="Column of the label, likewise.")] = None,
    teacher_url: Annotated[str, typer.Option(help="The teacher's base URL.")] = "https://api.openai.com/v1",
    teacher_model: Annotated[str, typer.Option(help="The teacher's model.")] = "gpt-4o-mini",
    output: Annotated[Path, typer.Option(help="The settings file to write; must not exist.")] = Path("tutelage.yaml"),
) -> None:
    """Make a task of a data file: count what is there, write the settings, say what is missing.

    Examples:

      tutelage init tickets.csv

      tutelage init tickets.csv --task tickets --text-column body --label-column queue --teacher-model gpt-4o
    """
    from tutelage.commands._scaffold import Scaffold, is_loopback, render
    from tutelage.commands._shared import close, console
    from tutelage.commands._survey import survey

    screen = console()
    if output.exists():
        raise SettingsError(f"{output} exists already; name another file with --output, or move it away")
    name = task or _task_name(data)
    found = survey(data, text_column, label_column)
    source = _usable_file(data, found, name, output, screen)
    scaffold = Scaffold(
        task=name,
        labels=found.labels,
        prompts=source,
        labelled=source if found.counts and sum(found.counts.values()) == len(found.rows) else None,
        teacher_url=teacher_url,
        teacher_model=teacher_model,
        api_key_env=None if is_loopback(teacher_url) else "OPENAI_API_KEY",
    )
    try:
        output.write_text(render(scaffold), encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{output}: cannot be written ({error.strerror})") from error
    screen.print(
        f"{len(found.rows)} texts in {data}, column {found.text_column!r}: {found.different} of them different, "
        f"half of them longer than {found.median_characters} characters"
    )
    if found.counts:
        screen.print(_label_table(found))
    missing = _missing(output, name, found)
    for line in missing:
        screen.print(f"  [yellow]•[/yellow] {line}")
    then = "mend what is marked above, then" if missing else "next:"
    close(
        screen, f"{output} holds the task {name} with {len(found.counts)} labels; {then} tutelage label --task {name}"
    )


def _task_name(data: Path) -> str:
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", data.stem).strip("-._")[:64]
    if not name:
        raise SettingsError(f"no task can be named after {data.name!r}; give --task NAME")
    return name


def _usable_file(data: Path, found: Survey, name: str, output: Path, screen: Console) -> str:
    """The data's path as the settings should have it; a copy under the columns `text` and `label` where they differ."""
    from training.examples import Example, write_examples

    folder = output.resolve().parent
    if found.text_column == "text" and found.label_column in {None, "label"}:
        return os.path.relpath(data.resolve(), folder)
    copy = folder / f"{name}.data.jsonl"
    if copy.exists():
        raise DataError(f"{copy} exists already, and a copy of {data} was to be written there; move it away")
    write_examples(copy, [Example(row.text, row.label) for row in found.rows])
    screen.print(f"Copied to {copy.name} with the columns `text` and `label`, under which Tutelage reads data.")
    return copy.name


def _label_table(found: Survey) -> Table:
    from rich.table import Table

    ranked = sorted(found.counts.items(), key=lambda item: (-item[1], item[0]))
    shown = ranked if len(ranked) <= _SHOWN else [*ranked[: _SHOWN // 2], ("…", 0), *ranked[-_SHOWN // 2 :]]
    table = Table(title=f"{len(ranked)} labels", title_justify="left")
    table.add_column("label")
    table.add_column("examples", justify="right")
    for label, count in shown:
        table.add_row(label, str(count) if count else "…")
    return table


def _missing(output: Path, name: str, found: Survey) -> list[str]:
    """What a person should look at before going on, one line each."""
    lines = [f"{first!r} and {second!r} look like one label written in two ways" for first, second in found.alike]
    if found.thin:
        names = ", ".join(f"{label} ({found.counts[label]})" for label in found.thin[:5])
        lines.append(f"{len(found.thin)} thin labels: {names}; a class with few examples stays with the teacher")
    unlabelled = len(found.rows) - sum(found.counts.values())
    if found.counts and unlabelled:
        lines.append(f"{unlabelled} rows have no label; they serve as prompts only")
    if len(found.counts) < 2:
        lines.append(f"write the labels under tasks.{name}.labels in {output}: at least two")
        return lines
    teacher = load_settings(output).task(name).teacher
    lines.append(
        f"permissions: in {output}, set teacher.may_train and teacher.data_may_leave to true where terms and privacy "
        "allow"
    )
    if teacher.api_key_env is not None and not os.environ.get(teacher.api_key_env):
        lines.append(f"the environment variable {teacher.api_key_env} is not set; it should hold the teacher's key")
    if price_of(teacher) is None:
        lines.append(f"the price of {teacher.model} is not known; set teacher.input_price and teacher.output_price")
    return lines
