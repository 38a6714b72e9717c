"""`tutelage review`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.errors import DataError, SettingsError
from core.settings import load_settings
from tutelage.config import find_config

if TYPE_CHECKING:
    from rich.console import Console

    from core.ledger import Review
    from tutelage.commands._review_desk import Desk


def review(
    task: Annotated[str | None, typer.Option(help="One task; by default all.")] = None,
    red_team: Annotated[
        bool, typer.Option("--red-team", help="Check sure answers of the teacher, drawn at random from each class.")
    ] = False,
    listed: Annotated[bool, typer.Option("--list", help="Show what waits, and ask nothing.")] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Also what was skipped; with --list, what was judged.")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="So many at most.")] = None,
    identifier: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="One entry, for --verdict or --skip.")
    ] = None,
    verdict: Annotated[
        str | None,
        typer.Option(metavar="LABEL", help="With --id: what is right; a label, `student`, `teacher` or `both`."),
    ] = None,
    skip: Annotated[bool, typer.Option("--skip", help="With --id: leave it aside.")] = False,
    note: Annotated[str, typer.Option(help="With --verdict: why; kept as the feedback's comment.")] = "",
    per_class: Annotated[int, typer.Option(min=1, help="With --red-team: draw so many of each class.")] = 2,
    sure: Annotated[
        float | None,
        typer.Option("--from", min=0, max=1, help="With --red-team: from this confidence of the teacher on."),
    ] = None,
    days: Annotated[float, typer.Option(min=0, help="With --red-team: from the last so many days.")] = 30.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON, and ask nothing.")] = False,
    config: Annotated[Path | None, typer.Option(help="Settings file; by default tutelage.yaml.")] = None,
) -> None:
    """Judge answers that somebody was sure of and that may be wrong; each verdict becomes feedback.

    The monitor keeps the most confident disagreements between student and teacher. What both agree on nobody asks
    about: --red-team draws from the teacher's surest answers. A verdict is stored at once; stop whenever you like.

    Examples:

      tutelage review

      tutelage review --red-team --task tickets --per-class 3

      tutelage review --list --json

      tutelage review --id rv_01jd8q4m7e3v9k2r5t6w8x0yza --verdict refund --note "asks for the money back"
    """
    from core.ledger import Ledger
    from tutelage.commands._review_desk import Desk
    from tutelage.commands._review_screen import as_document, show_table
    from tutelage.commands._shared import chosen_task, close, console

    if (verdict is not None or skip) != (identifier is not None) or (verdict is not None and skip):
        raise SettingsError("name one entry and what becomes of it: --id ID with --verdict LABEL, or with --skip")
    settings = load_settings(find_config(config))
    if red_team or task is not None:
        task = chosen_task(settings, task)
    screen, ledger = console(), Ledger(settings.ledger_url)
    try:
        ledger.migrate()
        desk = Desk(settings, ledger)
        if identifier is not None:
            _settle(desk, screen, identifier, verdict, note, as_json=as_json)
            return
        if red_team and task is not None:
            desk.draw(task, per_class, sure, days)
        entries = desk.entries(task, red_team=red_team, everything=everything, judged=listed or as_json, limit=limit)
        if as_json:
            typer.echo(json.dumps([as_document(one) for one in entries], indent=2, ensure_ascii=False))
        elif listed:
            show_table(screen, entries)
            close(
                screen, f"{len(entries)} shown; `tutelage review` asks for verdicts, --id ID --verdict LABEL gives one"
            )
        else:
            close(screen, _ask_about(desk, screen, entries))
            if red_team and task is not None:
                screen.print(desk.drawn_rate(task), markup=False)
    finally:
        ledger.close()


def _settle(desk: Desk, screen: Console, identifier: str, verdict: str | None, note: str, *, as_json: bool) -> None:
    """One entry, without questions. Raises DataError where that cannot be done."""
    from tutelage.commands._review_screen import as_document
    from tutelage.commands._shared import close

    one = desk.get(identifier)
    if verdict is None:
        told = "is skipped" if desk.skip(one) else "was skipped or judged already"
    else:
        answer = desk.read(verdict, one)
        if answer.kind not in ("label", "both"):
            raise DataError(answer.hint or f"{verdict!r} is no verdict; give a label, `student`, `teacher` or `both`")
        if not desk.judge(one, answer, note):
            raise DataError(f"{identifier} was judged already; `tutelage review --list --all` shows how")
        desk.carry()
        told = f"is judged: {answer.label}"
    if as_json:
        typer.echo(json.dumps(as_document(desk.get(identifier)), indent=2, ensure_ascii=False))
    else:
        close(screen, f"{identifier} {told}")


def _ask_about(desk: Desk, screen: Console, entries: Sequence[Review]) -> str:
    """Ask for a verdict on each, until `quit` or the input's end; what became of it, for the closing line."""
    judged = skipped = gone = 0
    try:
        for number, one in enumerate(entries, start=1):
            if not desk.still_waits(one):
                gone += 1
                continue
            done = _ask(desk, screen, one, f"{number} of {len(entries)}")
            if done is None:
                break
            judged += done
            skipped += not done
    except typer.Abort:
        screen.print()
    if judged:
        desk.carry()
    left = len(entries) - judged - skipped - gone
    return f"{judged} judged, {skipped} skipped, {left} left" if entries else "nothing waits for a verdict"


def _ask(desk: Desk, screen: Console, one: Review, place: str) -> bool | None:
    """Ask until it is settled: True, judged; False, skipped; None: the person wants to stop."""
    from tutelage.commands._review_screen import show_entry, show_labels

    show_entry(screen, one, place)
    note = ""
    while True:
        answer = desk.read(typer.prompt("  verdict", default="", show_default=False), one)
        if answer.kind == "quit":
            return None
        if answer.kind == "skip":
            desk.skip(one)
            return False
        if answer.kind == "note":
            note = typer.prompt("  note", default="", show_default=False)
        elif answer.kind == "labels":
            show_labels(screen, desk.labels(one))
        elif answer.kind == "unclear":
            screen.print(f"    {answer.hint}", markup=False)
        else:
            done = desk.judge(one, answer, note)
            if not done:
                screen.print("    somebody else has judged it meanwhile, or it has made room for a worse one")
            return done
