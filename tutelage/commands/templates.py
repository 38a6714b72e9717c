"""`tutelage templates`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.settings import load_settings
from tutelage.config import find_config

if TYPE_CHECKING:
    from core.ledger import Ledger
    from core.settings import Settings

_HELP = """
Show the prompt templates of each task, and those that clients use and no task knows.

Requests that no template fits go to the teacher, and are paid for. Accepting a template lets the student read them.

Examples:

  tutelage templates

  tutelage templates accept 1f0c93a5be

  tutelage templates reject 1f0c93a5be
"""

_Task = Annotated[str | None, typer.Option(help="One task; by default all.")]
_Json = Annotated[bool, typer.Option("--json", help="Print them as JSON.")]
_All = Annotated[bool, typer.Option("--all", help="Also what was rejected, and what was dropped.")]
_Yes = Annotated[bool, typer.Option("--yes", help="Do not ask first.")]
_Config = Annotated[Path | None, typer.Option(help="Settings file; by default tutelage.yaml.")]
_Id = Annotated[str, typer.Argument(metavar="ID", help="Of the unknown template; `tutelage templates` shows it.")]


def templates() -> typer.Typer:
    """The commands about prompt templates, as an app of their own."""
    app = typer.Typer(help=_HELP)
    app.callback(invoke_without_command=True)(_start)
    app.command("list")(_list)
    app.command("accept")(_accept)
    app.command("reject")(_reject)
    app.command("drop")(_drop)
    return app


def _start(
    context: typer.Context,
    task: _Task = None,
    everything: _All = False,
    as_json: _Json = False,
    config: _Config = None,
) -> None:
    if context.invoked_subcommand is None:
        _list(task, everything, as_json, config)


def _list(task: _Task = None, everything: _All = False, as_json: _Json = False, config: _Config = None) -> None:
    """List the templates that are known, and those that are not.

    Example:

      tutelage templates list --task tickets
    """
    from tutelage.commands._shared import close, console
    from tutelage.commands._template_screen import Page, as_document, show

    settings = load_settings(find_config(config))
    with _opened(settings) as ledger:
        pages = [
            Page(
                name,
                settings.task(name),
                [one for one in ledger.templates.all(name) if everything or one.dropped_at is None],
                ledger.unknown_templates.all(name, rejected=everything),
                _price(settings, ledger, name),
            )
            for name in ([task] if task is not None else settings.tasks)
        ]
    if as_json:
        typer.echo(json.dumps({page.task: as_document(page) for page in pages}, indent=2, ensure_ascii=False))
        return
    screen = console()
    for page in pages:
        show(screen, page)
    unknown = sum(not one.rejected for page in pages for one in page.unknown)
    hint = "; `tutelage templates accept ID` lets the student read one, `reject ID` silences it" if unknown else ""
    close(screen, f"{unknown} unknown template(s){hint}")


def _accept(
    identifier: _Id,
    name: Annotated[str, typer.Option(help="What you call it; the version is this name and a hash.")] = "accepted",
    message: Annotated[
        list[str] | None,
        typer.Option(metavar="ROLE=CONTENT", help="A message as it is to read, with holes as {text}. Repeatable."),
    ] = None,
    task: _Task = None,
    yes: _Yes = False,
    config: _Config = None,
) -> None:
    """Accept an unknown template: as it is suggested, or as you write it.

    Gateways and students take it in within seconds. `drop` takes it back.

    Examples:

      tutelage templates accept 1f0c93a5be

      tutelage templates accept 1f0c93a5be --message "system=Sort tickets." --message "user=Ticket: {text}"
    """
    from core.ledger import AcceptedTemplate
    from tutelage.commands._shared import close, console, who
    from tutelage.commands._template_choice import checked, covered, find_unknown, suggested, written
    from tutelage.commands._template_screen import show_template

    settings, screen = load_settings(find_config(config)), console()
    with _opened(settings) as ledger:
        unknown = find_unknown(ledger, identifier, task)
        template = written(name, message) if message else suggested(name, unknown)
        note = checked(settings, ledger, template, unknown)
        show_template(screen, template)
        if note:
            screen.print(note, markup=False)
        if not yes:
            typer.confirm(f"Let the student of {unknown.task} read requests that look like this?", abort=True)
        accepted = AcceptedTemplate(unknown.task, template, who(), time.time(), unknown.id)
        ledger.templates.accept(accepted, also=covered(ledger, template, unknown))
    close(screen, f"{template.version} is a template of {unknown.task}; `tutelage templates drop` takes it back")


def _reject(identifier: _Id, task: _Task = None, config: _Config = None) -> None:
    """Say no more of an unknown template; its requests go on to the teacher.

    Example:

      tutelage templates reject 1f0c93a5be
    """
    from tutelage.commands._shared import close, console, who
    from tutelage.commands._template_choice import find_unknown

    with _opened(load_settings(find_config(config))) as ledger:
        unknown = find_unknown(ledger, identifier, task)
        done = ledger.unknown_templates.reject(unknown.task, unknown.id, actor=who(), at=time.time())
    close(console(), f"{unknown.id} of {unknown.task} is rejected" if done else f"{unknown.id} was rejected already")


def _drop(
    version: Annotated[str, typer.Argument(help="Of the accepted template; `tutelage templates` shows it.")],
    task: _Task = None,
    yes: _Yes = False,
    config: _Config = None,
) -> None:
    """Take back an accepted template: its requests go to the teacher again.

    Example:

      tutelage templates drop accepted@1f0c93a5
    """
    from tutelage.commands._shared import close, console, who
    from tutelage.commands._template_choice import find_accepted

    settings = load_settings(find_config(config))
    with _opened(settings) as ledger:
        known = find_accepted(settings, ledger, version, task)
        if not yes:
            typer.confirm(f"Let the teacher of {known.task} answer what {version} reads?", abort=True)
        done = ledger.templates.drop(known.task, version, actor=who(), at=time.time())
    close(console(), f"{version} of {known.task} is dropped" if done else f"{version} was dropped already")


@contextmanager
def _opened(settings: Settings) -> Iterator[Ledger]:
    from core.ledger import Ledger

    ledger = Ledger(settings.ledger_url)
    try:
        ledger.migrate()
        yield ledger
    finally:
        ledger.close()


def _price(settings: Settings, ledger: Ledger, task: str) -> float | None:
    """Dollars of one request that no template fits, by what is archived; None where nothing is."""
    from core.archive import Archive
    from core.records import Reason

    sql = "SELECT avg(cost_usd) AS price FROM records WHERE reason = ? AND cost_usd > 0"
    try:
        archive = Archive(settings.archive_url, ledger)
        (row,) = archive.query(sql, task, parameters=[Reason.TEMPLATE_MISMATCH.value]).to_pylist()
    except OSError:  # the archive is elsewhere, and away: that is no reason to say nothing of the rest
        return None
    return None if row["price"] is None else float(row["price"])
