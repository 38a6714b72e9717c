"""`tutelage advise`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.errors import SettingsError

if TYPE_CHECKING:
    from training.advice import Answers, Seen
    from training.economics import Found

_TERMS = "--may-train or --may-not-train"


def advise(
    task: Annotated[str | None, typer.Option(help="A task: what is not given is read from it.")] = None,
    answers: Annotated[Path | None, typer.Option(help="YAML file with answers, by the options' names.")] = None,
    kind: Annotated[str | None, typer.Option(help="classification, extraction or generation.")] = None,
    classes: Annotated[int | None, typer.Option(help="Different answers.")] = None,
    queries: Annotated[float | None, typer.Option(help="Queries a month.")] = None,
    input_tokens: Annotated[float | None, typer.Option(help="Tokens of a prompt.")] = None,
    output_tokens: Annotated[float | None, typer.Option(help="Tokens of an answer.")] = None,
    teacher: Annotated[str | None, typer.Option(help="The model that answers now.")] = None,
    quality: Annotated[float | None, typer.Option(help="Share of answers that must be as good, such as 0.95.")] = None,
    may_train: Annotated[
        bool | None, typer.Option("--may-train/--may-not-train", help="What the provider's terms say.")
    ] = None,
    privacy: Annotated[
        str | None, typer.Option(help="Where the data may go: teacher, requests (clients' own only), or house.")
    ] = None,
    latency_ms: Annotated[float | None, typer.Option(help="Longest median time of an answer; 0: any.")] = None,
    drift: Annotated[str | None, typer.Option(help="The job changes yearly, monthly, weekly or daily.")] = None,
    labelled: Annotated[int | None, typer.Option(help="Examples that people have labelled.")] = None,
    tried: Annotated[str | None, typer.Option(help="A smaller hosted model: no (not tried), good or bad.")] = None,
    smaller: Annotated[str | None, typer.Option(help="Which one; by default gpt-4o-mini.")] = None,
    teacher_price: Annotated[
        tuple[float, float] | None, typer.Option(metavar="IN OUT", help="Dollars a million tokens.")
    ] = None,
    smaller_price: Annotated[tuple[float, float] | None, typer.Option(metavar="IN OUT", help="The same.")] = None,
    fallback: Annotated[float | None, typer.Option(help="Share that the teacher would go on to answer.")] = None,
    hosting_usd: Annotated[float | None, typer.Option(help="Dollars a month for a student's machines.")] = None,
    once_usd: Annotated[float | None, typer.Option(help="Dollars spent once: people's labels and time.")] = None,
    days: Annotated[float, typer.Option(min=0.01, help="How many days of a task's traffic are read.")] = 30.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    config: Annotated[Path | None, typer.Option(help="Settings file; by default tutelage.yaml.")] = None,
) -> None:
    """Say whether to distil: yes, no, fine-tune a small model directly, or try a smaller hosted one first.

    What is given wins over the file of answers, and that over what settings and traffic say. What is then still open
    is asked; where nobody is there to ask, it is an error.

    Examples:

      tutelage advise

      tutelage advise --task tickets --quality 0.95 --drift monthly --latency-ms 0 --tried bad

      tutelage advise --answers tickets.answers.yaml --json
    """
    from training.advice import Answers, answered, decide, facts_of, measured_by, read_answers, set_by
    from tutelage.commands._advice_screen import as_json as document
    from tutelage.commands._advice_screen import next_step, show_advice
    from tutelage.commands._shared import close, console

    given = {
        "kind": kind,
        "classes": classes,
        "queries": queries,
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "teacher": teacher,
        "quality": quality,
        "may_train": may_train,
        "privacy": privacy,
        "latency_ms": latency_ms,
        "drift": drift,
        "labelled": labelled,
        "tried": tried,
        "smaller": smaller,
        "teacher_price": teacher_price,
        "smaller_price": smaller_price,
        "fallback": fallback,
        "hosting_usd": hosting_usd,
        "once_usd": once_usd,
    }
    said = answered(read_answers(answers) if answers is not None else Answers(), given)
    found, seen = _look(said, task, config, days)
    if found is not None:
        open_ones = {name: value for name, value in set_by(found).items() if getattr(said, name) is None}
        said = answered(said, open_ones)
    said = _complete(said, measured_by(found) if found is not None else set())
    facts = facts_of(said, found, seen)
    decision = decide(facts)
    screen = console()
    if as_json:
        screen.print_json(data=document(facts, decision))
        return
    show_advice(screen, facts, decision)
    close(screen, next_step(decision))


def _look(answers: Answers, task: str | None, config: Path | None, days: float) -> tuple[Found | None, Seen | None]:
    """What is known of the task that is meant; nothing where none is."""
    from training.advice import read_seen
    from tutelage.commands._books import looked_up, means_a_task, missing_options

    missing = missing_options(answers.queries, answers.input_tokens, answers.output_tokens, answers.teacher)
    if not means_a_task(task, config, missing):
        return None, None
    with looked_up(config, task, days) as look:
        return look.found, read_seen(look.archive, look.ledger, look.found, look.since)


def _complete(answers: Answers, known: set[str]) -> Answers:
    """The same with what is still open asked, one question after the other.

    Raises SettingsError, naming the options, where nobody is there to ask.
    """
    from training.advice import answered, missing

    if missing(answers, known) and not sys.stdin.isatty():
        options = ", ".join(f"--{name.replace('_', '-')}" for name in missing(answers, known))
        options = options.replace("--may-train", _TERMS)
        raise SettingsError(f"nobody is there to ask; give {options}, or a file with these answers by --answers")
    while open_ones := missing(answers, known):
        answers = answered(answers, {open_ones[0]: _ask(open_ones[0])})
    return answers


def _ask(name: str) -> Any:
    """Ask one question until the answer can be understood."""
    from training.advice import QUESTIONS, parse

    while True:
        try:
            return parse(name, typer.prompt(QUESTIONS[name], err=True))  # standard output may be a file of JSON
        except ValueError as error:
            typer.echo(f"{error}; once more, please", err=True)
