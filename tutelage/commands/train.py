"""`tutelage train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.errors import SettingsError
from core.settings import DistilSettings, Settings, load_settings
from core.telemetry import silence_third_parties
from tutelage.config import find_config

if TYPE_CHECKING:
    from rich.table import Table

    from training.workflow import StudentRun

_WORST_SHOWN = 8


def train(
    task: Annotated[str | None, typer.Option(help="The task; may be left out where there is only one.")] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Labelled examples (JSONL); by default what `tutelage label` wrote.")
    ] = None,
    architecture: Annotated[
        str | None, typer.Option(help="`ngram` or `encoder`; by default as the settings say.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random; by default as the settings say.")] = None,
    promote: Annotated[bool, typer.Option("--promote", help="Make it champion even where there is one.")] = False,
    config: Annotated[Path | None, typer.Option(help="Settings file; by default tutelage.yaml.")] = None,
) -> None:
    """Distil a student from labelled examples, judge it on held-out ones, and register it.

    The first student of a task becomes its champion: what it is not trusted with goes to the teacher as before. A later
    one stays a candidate unless --promote is given.

    Examples:

      tutelage train --task tickets

      tutelage train --task tickets --architecture encoder --seed 7 --promote
    """
    silence_third_parties()
    from training.examples import read_examples
    from training.workflow import labels_file, make_student
    from tutelage.commands._shared import chosen_task, close, console, progress_bars

    screen = console()
    settings = load_settings(find_config(config))
    name = chosen_task(settings, task)
    settings = _with_distil(settings, name, architecture, seed)
    examples = read_examples(labels or labels_file(settings, name), settings.task(name).label_set())
    with progress_bars(screen) as report:
        run = make_student(settings, name, examples, promote=promote, report=report, actor="tutelage train")
    screen.print(_figures(run))
    screen.print(_weakest(run))
    role = "champion" if run.registered.champion else "candidate (--promote makes it champion)"
    close(
        screen,
        f"{name} version {run.registered.version} is {role}: agreement {run.result.evaluation.agreement:.1%}, trusted "
        f"with {run.registered.trusted} of {len(run.result.verdicts)} classes; kept in {run.result.folder}",
    )


def _with_distil(settings: Settings, name: str, architecture: str | None, seed: int | None) -> Settings:
    """The settings with what the command line says about distilling."""
    task = settings.task(name)
    changes: dict[str, Any] = {}
    if architecture is not None:
        changes["architecture"] = architecture
    if seed is not None:
        changes["seed"] = seed
    if architecture not in {None, "ngram", "encoder"}:
        raise SettingsError(f"there is no architecture {architecture!r}; valid are ngram and encoder")
    distil = DistilSettings(**(task.distil.model_dump() | changes))
    return settings.model_copy(update={"tasks": settings.tasks | {name: task.model_copy(update={"distil": distil})}})


def _figures(run: StudentRun) -> Table:
    from rich.table import Table

    judged, data = run.result.evaluation, run.result.card.data
    table = Table(title=f"On {judged.examples} held-out texts, {data['train']} taught", title_justify="left")
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_column("meaning", style="dim")
    table.add_row("agreement", f"{judged.agreement:.1%}", "same label as the teacher")
    if judged.accuracy is not None:
        table.add_row(
            "accuracy", f"{judged.accuracy:.1%}", f"gold labels; the teacher has {judged.teacher_accuracy:.1%}"
        )
    table.add_row("coverage", f"{judged.coverage:.1%}", "confident enough to answer")
    table.add_row("agreement there", f"{judged.covered_agreement:.1%}", "on what it is confident enough to answer")
    table.add_row("ECE", f"{judged.ece:.3f}", "confidence against agreement, 0 is perfect")
    table.add_row("temperature", f"{run.result.card.temperature:.2f}", "calibration")
    return table


def _weakest(run: StudentRun) -> Table:
    from rich.table import Table

    verdicts = sorted(run.result.verdicts, key=lambda verdict: (verdict.trusted, verdict.agreement))[:_WORST_SHOWN]
    table = Table(title="Weakest classes", title_justify="left")
    for column in ("class", "may answer", "agreement", "examples"):
        table.add_column(column, justify="right" if column in {"agreement", "examples"} else "left")
    for verdict in verdicts:
        answer = "[green]student[/green]" if verdict.trusted else "[yellow]teacher[/yellow]"
        table.add_row(verdict.label, answer, f"{verdict.agreement:.1%}", str(verdict.examples))
    return table
