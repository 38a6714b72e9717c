"""`tutelage students`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from core.settings import load_settings
from core.telemetry import silence_third_parties
from tutelage.config import find_config


def students(
    task: Annotated[str | None, typer.Option(help="One task; by default all.")] = None,
    config: Annotated[Path | None, typer.Option(help="Settings file; by default tutelage.yaml.")] = None,
) -> None:
    """List the students that are registered, newest first.

    Examples:

      tutelage students

      tutelage students --task tickets
    """
    silence_third_parties()
    from rich.table import Table

    from core.ledger import Ledger
    from training.workflow import open_registry
    from tutelage.commands._shared import close, console

    screen = console()
    settings = load_settings(find_config(config))
    names = [task] if task is not None else list(settings.tasks)
    for name in names:
        settings.task(name)
    registry, ledger = open_registry(settings), Ledger(settings.ledger_url)
    try:
        ledger.migrate()
        table = Table()
        for column in ("task", "version", "alias", "architecture", "created", "agreement", "trusted"):
            table.add_column(column, justify="right" if column in {"version", "agreement", "trusted"} else "left")
        count = 0
        for name in names:
            trusted, classes = ledger.trusted(name), len(settings.task(name).labels)
            for version in reversed(registry.versions(name)):
                agreement = version.metrics.get("agreement")
                table.add_row(
                    name,
                    version.version,
                    ", ".join(version.aliases) or "-",
                    version.tags.get("tutelage.architecture", "-"),
                    datetime.fromtimestamp(version.created).astimezone().strftime("%Y-%m-%d %H:%M"),
                    "-" if agreement is None else f"{agreement:.1%}",
                    f"{len(trusted.get(version.version, ()))} of {classes}",
                )
                count += 1
    finally:
        ledger.close()
    if count:
        screen.print(table)
    hint = "" if count else "; make the first with `tutelage label`, then `tutelage train`"
    close(screen, f"{count} {'student' if count == 1 else 'students'} of {len(names)} {_tasks(len(names))}{hint}")


def _tasks(count: int) -> str:
    return "task" if count == 1 else "tasks"
