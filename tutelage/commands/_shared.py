"""What the commands of a task share: choosing the task, drawing progress, closing lines."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from core.errors import SettingsError
from core.settings import Settings
from training.progress import Progress, Report

_LEAST_WIDTH = 120

_STAGES = {
    "fit": "Fitting the teacher",
    "label": "The teacher labels",
    "train": "The student learns",
    "calibrate": "Calibrating and judging",
    "register": "Registering",
}


def chosen_task(settings: Settings, named: str | None) -> str:
    """The task that was named, or the only one. Raises SettingsError where that is not clear."""
    if named is not None:
        settings.task(named)
        return named
    if len(settings.tasks) == 1:
        return next(iter(settings.tasks))
    raise SettingsError(f"the settings hold several tasks; name one with --task: {', '.join(settings.tasks)}")


def who() -> str:
    """Who acts at the command line, for the audit trail."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a container's user may have no name
        return f"cli:uid{os.getuid()}"


def console() -> Console:
    """Where commands print for people. Tables keep their width: what a narrow terminal wraps can still be copied."""
    screen = Console(highlight=False, soft_wrap=True)
    screen.width = max(screen.width, _LEAST_WIDTH)
    return screen


def close(screen: Console, text: str) -> None:
    """Print a command's closing line."""
    screen.print(f"[bold green]✓[/bold green] {text}")


@contextmanager
def progress_bars(screen: Console) -> Iterator[Report]:
    """Draw one bar a stage while the block runs; nothing where there is no terminal."""
    bars = Bars(
        TextColumn("{task.description:<24}"),
        BarColumn(bar_width=32),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("[dim]{task.fields[message]}[/dim]"),
        console=screen,
        disable=not screen.is_terminal,
    )
    rows: dict[str, TaskID] = {}

    def report(progress: Progress) -> None:
        if progress.stage not in rows:
            description = _STAGES.get(progress.stage, progress.stage)
            rows[progress.stage] = bars.add_task(description, total=progress.total, message="")
        bars.update(rows[progress.stage], completed=progress.done, total=progress.total, message=progress.message)

    with bars:
        yield report
