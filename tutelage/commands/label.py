"""`tutelage label`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.errors import TeacherError
from core.settings import load_settings
from core.telemetry import silence_third_parties
from tutelage.config import find_config

if TYPE_CHECKING:
    from rich.console import Console

    from training.labelling import Estimate


def label(
    task: Annotated[str | None, typer.Option(help="The task; may be left out where there is only one.")] = None,
    file: Annotated[
        list[Path] | None,
        typer.Option(help="CSV or JSONL with `text`; by default the task's data.prompts. Repeatable."),
    ] = None,
    budget: Annotated[float | None, typer.Option(min=0, help="Dollars that may be spent at most.")] = None,
    output: Annotated[
        Path | None, typer.Option(help="Where to write; by default labels/<task>.jsonl in the state.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before money is spent.")] = False,
    config: Annotated[Path | None, typer.Option(help="Settings file; by default tutelage.yaml.")] = None,
) -> None:
    """Have the teacher label prompts: concurrent, within a budget, and resumable.

    What is answered is kept line by line. After Ctrl-C, or a budget that is used up, the same command goes on.

    Examples:

      tutelage label --task tickets --budget 5

      tutelage label --task tickets --file january.csv --file february.csv --budget 2.50 --yes
    """
    silence_third_parties()
    from training.workflow import estimate_labelling, label_prompts, labels_file, read_prompts
    from tutelage.commands._shared import chosen_task, close, console, progress_bars

    screen = console()
    settings = load_settings(find_config(config))
    name = chosen_task(settings, task)
    prompts = read_prompts(name, settings.task(name), file or ())
    needed = estimate_labelling(settings, name, prompts)
    _announce(screen, needed, settings.task(name).teacher.model)
    limit = _agreed_budget(needed, budget, yes=yes)
    target = output or labels_file(settings, name)
    try:
        with progress_bars(screen) as report:
            examples, labelling = label_prompts(settings, name, prompts, target, budget_usd=limit, report=report)
    except KeyboardInterrupt:
        screen.print("\nStopped. What was answered is kept: the same command goes on from there.")
        raise typer.Exit(130) from None
    skipped = f", {labelling.unreadable} answers were no label" if labelling.unreadable else ""
    close(
        screen,
        f"{len(examples)} labelled examples in {target} ({labelling.asked} asked, {labelling.cached} known before"
        f"{skipped}; ${labelling.spent_usd:.4f} spent). Next: tutelage train --task {name}",
    )


def _announce(screen: Console, needed: Estimate, model: str) -> None:
    screen.print(f"{needed.texts} prompts, {needed.cached} of them answered before; {needed.calls} to ask {model}.")
    if needed.calls and not needed.price.free:
        price = needed.price
        screen.print(
            f"Price ({price.source}): ${price.input_price:g} in, ${price.output_price:g} out a million tokens. "
            f"Expected about [bold]${needed.expected_usd:.2f}[/bold], at most ${needed.worst_usd:.2f} before retries."
        )


def _agreed_budget(needed: Estimate, budget: float | None, *, yes: bool) -> float:
    """The budget that the person agreed to. Raises TeacherError where nobody is there to agree."""
    if not needed.calls or needed.price.free:
        return budget or 0.0
    proposed = budget if budget is not None else round(needed.worst_usd + 0.005, 2)
    if yes or typer.confirm(f"Spend at most ${proposed:g}?", default=budget is not None):
        return proposed
    raise TeacherError("nothing was asked; give --budget USD, and --yes where nobody is there to confirm")
