"""`tutelage runs`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.errors import DataError
from core.settings import load_settings
from core.telemetry import silence_third_parties
from tutelage.config import find_config

if TYPE_CHECKING:
    from rich.console import Console

    from core.ledger import DataDeletion, Run
    from training.runs import RunContext

_REASON_SHOWN = 90
_COLOURS = {"running": "cyan", "promoted": "green", "refused": "yellow", "failed": "red"}


def runs(
    task: Annotated[str | None, typer.Option(help="One task; by default all.")] = None,
    show: Annotated[str | None, typer.Option(help="The id of a run to show in full.")] = None,
    start: Annotated[bool, typer.Option("--start", help="Ask for a run now, whether or not an alarm is open.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 20,
    config: Annotated[Path | None, typer.Option(help="Settings file; by default tutelage.yaml.")] = None,
) -> None:
    """List retraining runs, newest first; show one; or ask for one.

    Examples:

      tutelage runs

      tutelage runs --show run_01jd8q4m7e3v9k2r5t6w8x0yza

      tutelage runs --start --task tickets
    """
    silence_third_parties()
    from tutelage.commands._shared import chosen_task, close, console
    from tutelage.commands._stores import opened

    screen = console()
    settings = load_settings(find_config(config))
    with opened(settings) as stores:
        if start:
            name = chosen_task(settings, task)
            close(screen, f"run {_begin(stores, name).id} of {name} is asked for; a trainer takes it up in a moment")
            return
        if show is not None:
            run = stores.ledger.runs.get(show)
            if run is None:
                raise DataError(f"there is no run {show!r}; `tutelage runs` lists them")
            _show(screen, run, stores.ledger.forgotten.deletions(run.id))
            return
        if task is not None:
            settings.task(task)
        found = stores.ledger.runs.newest(task, limit=limit)
    _list(screen, found)
    hint = "; an alarm that asks for it starts one, or `tutelage runs --start`" if not found else ""
    close(screen, f"{len(found)} {'run' if len(found) == 1 else 'runs'}{hint}")


def _begin(stores: RunContext, task: str) -> Run:
    from training.runs import begin_run

    run = begin_run(stores, task, actor=stores.actor)
    if run is None:
        running = stores.ledger.runs.running(task)
        raise DataError(f"{task} has a running run already{f', {running.id}' if running else ''}; wait for it to end")
    return run


def _list(screen: Console, found: list[Run]) -> None:
    from rich.table import Table

    if not found:
        return
    table = Table()
    for column in ("run", "task", "state", "step", "candidate", "against", "started", "why"):
        table.add_column(column, justify="right" if column in {"candidate", "against"} else "left")
    for run in found:
        why = run.reason if len(run.reason) <= _REASON_SHOWN else f"{run.reason[:_REASON_SHOWN]} …"
        colour = _COLOURS[run.state.value]
        table.add_row(
            run.id,
            run.task,
            f"[{colour}]{run.state.value}[/{colour}]",
            run.step,
            run.candidate or "-",
            run.champion,
            _moment(run.started),
            why,
        )
    screen.print(table)


def _show(screen: Console, run: Run, deletions: list[DataDeletion]) -> None:
    from rich.json import JSON

    lines = [
        f"[bold]{run.id}[/bold] of {run.task}: {run.state.value}",
        f"asked for by {f'alarm {run.alarm}' if run.alarm else 'a person'}, {_moment(run.started)}",
        f"candidate {run.candidate or 'not registered'} against version {run.champion}; step {run.step}",
        f"last change {_moment(run.updated)}",
    ]
    if run.reason:
        lines.append(f"why: {run.reason}")
    if run.report:
        lines.append(f"report: {run.report}")
    lines += [f"data deleted: {one.examples} examples, {_moment(one.at)} ({one.cause})" for one in deletions]
    screen.print("\n".join(lines), markup=True)
    screen.print(JSON.from_data(run.record))


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M")
