"""`tutelage economics`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from core.errors import SettingsError

_SVG = ".svg"


def economics(
    task: Annotated[str | None, typer.Option(help="A task: what is not given is read from its traffic.")] = None,
    queries: Annotated[float | None, typer.Option(min=1, help="Queries a month.")] = None,
    input_tokens: Annotated[float | None, typer.Option(min=0, help="Tokens of a prompt.")] = None,
    output_tokens: Annotated[float | None, typer.Option(min=0, help="Tokens of an answer.")] = None,
    teacher: Annotated[str | None, typer.Option(help="Who answers now: a model's name.")] = None,
    student: Annotated[
        str | None, typer.Option(help="A smaller hosted model; by default a student of our own, which is hosted.")
    ] = None,
    teacher_price: Annotated[
        tuple[float, float] | None,
        typer.Option(metavar="IN OUT", help="Dollars a million tokens; by default the price table's."),
    ] = None,
    student_price: Annotated[
        tuple[float, float] | None, typer.Option(metavar="IN OUT", help="The same for a hosted student.")
    ] = None,
    fallback: Annotated[float | None, typer.Option(min=0, max=1, help="Share that the teacher answers.")] = None,
    shadow: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of the student's answers that the teacher is asked about.")
    ] = None,
    repeat: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of these comparisons that it is asked twice.")
    ] = None,
    golden_usd: Annotated[float | None, typer.Option(min=0, help="Dollars a month for the golden set.")] = None,
    hosting_usd: Annotated[
        float | None, typer.Option(min=0, help="Dollars a month for the student's machines.")
    ] = None,
    labels: Annotated[float | None, typer.Option(min=0, help="Prompts that the teacher labels at first.")] = None,
    once_usd: Annotated[
        float | None, typer.Option(min=0, help="Dollars spent once beside them: people's labels and time, machines.")
    ] = None,
    retraining_usd: Annotated[float | None, typer.Option(min=0, help="Dollars of one retraining.")] = None,
    retraining_months: Annotated[float | None, typer.Option(min=0.01, help="Months from one to the next.")] = None,
    days: Annotated[float, typer.Option(min=0.01, help="How many days of a task's traffic are read.")] = 30.0,
    plot: Annotated[Path | None, typer.Option(help="Draw it into this SVG file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    config: Annotated[Path | None, typer.Option(help="Settings file; by default tutelage.yaml.")] = None,
) -> None:
    """Say what a student costs and saves, and when it has paid for being distilled.

    With volume, tokens and teacher given it needs no settings. Of a task it reads what was accounted; what is given
    wins. Every number is shown with where it is known from.

    Examples:

      tutelage economics --queries 1000000 --input-tokens 500 --output-tokens 200 --teacher gpt-4o --student gpt-4o-mini

      tutelage economics --task tickets --once-usd 2000 --plot books.svg
    """
    from training.economics import Given, assemble
    from tutelage.commands._books import looked_up, means_a_task, missing_options
    from tutelage.commands._economics_screen import as_json as document
    from tutelage.commands._economics_screen import closing, show_books
    from tutelage.commands._shared import close, console

    given = Given(
        queries=queries,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        teacher=teacher,
        teacher_price=teacher_price,
        student=student,
        student_price=student_price,
        fallback=fallback,
        shadow=shadow,
        repeat=repeat,
        hosting_usd=hosting_usd,
        golden_usd=golden_usd,
        labels=labels,
        once_usd=once_usd,
        retraining_usd=retraining_usd,
        retraining_months=retraining_months,
    )
    missing = missing_options(queries, input_tokens, output_tokens, teacher)
    found = None
    if means_a_task(task, config, missing):
        with looked_up(config, task, days) as look:
            found = look.found
    elif missing:
        raise SettingsError(
            f"there are no settings of a task here, so give {', '.join(missing)}, or name the settings with --config"
        )
    case = assemble(given, found)
    if plot is not None:
        from training.economics.picture import draw

        _write(plot, draw(case))
    screen = console()
    if as_json:
        screen.print_json(data=document(case))
        return
    show_books(screen, case)
    close(screen, closing(case) + (f"; drawn into {plot}" if plot is not None else ""))


def _write(plot: Path, text: str) -> None:
    if plot.suffix.lower() != _SVG:
        raise SettingsError(f"{plot} is no SVG file; give --plot a name that ends in {_SVG}")
    try:
        plot.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{plot}: cannot be written ({error.strerror}); give --plot another name") from error
