"""`tutelage keys`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.errors import DataError
from core.limits import Limits
from core.settings import PASSTHROUGH, load_settings
from tutelage.config import find_config

if TYPE_CHECKING:
    from core.ledger import ApiKey, Keys
    from core.settings import Settings

_HELP = """
Create, list and revoke the API keys with which clients ask the gateway.

Without any key the gateway asks for none, and answers this machine alone.

Examples:

  tutelage keys create app

  tutelage keys list

  tutelage keys revoke app
"""


def keys() -> typer.Typer:
    """The commands about API keys, as an app of their own."""
    app = typer.Typer(help=_HELP, no_args_is_help=True)
    app.command("create")(_create)
    app.command("list")(_list)
    app.command("revoke")(_revoke)
    return app


def _create(
    name: Annotated[str, typer.Argument(help="What you call it: the program or the people that use it.")],
    task: Annotated[
        list[str] | None,
        typer.Option(
            help="A task that it may use, or `passthrough`, the default upstream; by default all. Repeatable."
        ),
    ] = None,
    requests_per_minute: Annotated[int | None, typer.Option(min=1, help="Requests a minute.")] = None,
    tokens_per_minute: Annotated[int | None, typer.Option(min=1, help="Tokens a minute, in and out.")] = None,
    dollars_per_day: Annotated[float | None, typer.Option(min=0, help="Dollars a day (UTC).")] = None,
    dollars_per_month: Annotated[float | None, typer.Option(min=0, help="Dollars a calendar month (UTC).")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print the key and nothing else.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print all about it, the key included, as JSON.")] = False,
    config: Annotated[Path | None, typer.Option(help="Settings file; by default tutelage.yaml.")] = None,
) -> None:
    """Create a key, and print it: this once, since only its hash is kept.

    The key alone goes to standard output.

    Examples:

      tutelage keys create app

      tutelage keys create app --task tickets --requests-per-minute 600 --dollars-per-day 5

      OPENAI_API_KEY=$(tutelage keys create app --quiet)
    """
    from tutelage.commands._shared import who

    settings = load_settings(find_config(config))
    for known in task or ():
        if known != PASSTHROUGH or settings.passthrough is None:
            settings.task(known)
    limits = Limits(requests_per_minute, tokens_per_minute, dollars_per_day, dollars_per_month)
    with _opened(settings) as stored:
        first = not stored.all()
        key, secret = stored.create(name, actor=who(), at=time.time(), tasks=task or (), limits=limits)
    typer.echo(json.dumps({"key": secret} | _as_json(key), indent=2) if as_json else secret)
    if not quiet and not as_json:
        _explain(key, first=first)


def _list(
    as_json: Annotated[bool, typer.Option("--json", help="Print them as JSON.")] = False,
    config: Annotated[Path | None, typer.Option(help="Settings file; by default tutelage.yaml.")] = None,
) -> None:
    """List every key that was ever created, the oldest first; never the keys themselves.

    Example:

      tutelage keys list
    """
    from rich.table import Table

    from tutelage.commands._shared import close, console

    with _opened(load_settings(find_config(config))) as stored:
        found = stored.all()
    if as_json:
        typer.echo(json.dumps([_as_json(key) for key in found], indent=2))
        return
    screen, table = console(), Table()
    for column in ("id", "name", "tasks", "limits", "created", "revoked"):
        table.add_column(column, overflow="fold")
    for key in found:
        revoked = "-" if key.revoked_at is None else _when(key.revoked_at)
        table.add_row(key.id, key.name, _tasks(key), _limits(key.limits), _when(key.created_at), revoked)
    if found:
        screen.print(table)
    valid = sum(key.revoked_at is None for key in found)
    hint = "" if found else "; the gateway asks for none, and answers this machine alone"
    close(screen, f"{valid} valid {'key' if valid == 1 else 'keys'}, {len(found) - valid} revoked{hint}")


def _revoke(
    key: Annotated[str, typer.Argument(metavar="ID-OR-NAME", help="The key's id or name; `keys list` shows both.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask first.")] = False,
    config: Annotated[Path | None, typer.Option(help="Settings file; by default tutelage.yaml.")] = None,
) -> None:
    """Revoke a key, for good. The gateways refuse it as soon as they have looked (gateway.refresh_seconds).

    Examples:

      tutelage keys revoke app

      tutelage keys revoke 9x2kq7bd --yes
    """
    from tutelage.commands._shared import close, console, who

    with _opened(load_settings(find_config(config))) as stored:
        chosen = _one(stored.all(), key)
        if chosen.revoked_at is not None:
            close(console(), f"the key {chosen.name} ({chosen.id}) was revoked already, {_when(chosen.revoked_at)}")
            return
        if not yes:
            typer.confirm(f"Revoke the key {chosen.name} ({chosen.id})? Whoever uses it is refused", abort=True)
        stored.revoke(chosen.id, actor=who(), at=time.time())
        left = sum(other.revoked_at is None for other in stored.all())
    hint = "" if left else "; there is no valid key left, so every request is refused until you create one"
    close(console(), f"the key {chosen.name} ({chosen.id}) is revoked{hint}")


@contextmanager
def _opened(settings: Settings) -> Iterator[Keys]:
    from core.ledger import Ledger

    ledger = Ledger(settings.ledger_url)
    try:
        ledger.migrate()
        yield ledger.keys
    finally:
        ledger.close()


def _one(found: list[ApiKey], named: str) -> ApiKey:
    """The key with this id; else the one with this name, a valid one first. Raises DataError that names the nearest."""
    if not found:
        raise DataError("there is no key yet; `tutelage keys create NAME` makes one")
    for key in found:
        if key.id == named:
            return key
    namesakes = [key for key in found if key.name == named]
    if not namesakes:
        names = [name for key in found if key.revoked_at is None for name in (key.name, key.id)]
        nearest = get_close_matches(named, names, n=1, cutoff=0.5)
        hint = f"did you mean {nearest[0]!r}?" if nearest else "`tutelage keys list` shows all"
        raise DataError(f"there is no key {named!r}; {hint}")
    return min(namesakes, key=lambda key: key.revoked_at is not None)


def _explain(key: ApiKey, *, first: bool) -> None:
    """Say what became of it on standard error, so that standard output is the key alone."""
    tasks = "any task" if not key.tasks else _tasks(key)
    typer.secho("✓ ", fg="green", bold=True, err=True, nl=False)
    typer.echo(f"The key {key.name} ({key.id}) may use {tasks}; limits: {_limits(key.limits)}.", err=True)
    typer.echo("  It is not shown again: put it where your client keeps its secrets (OPENAI_API_KEY).", err=True)
    if first:
        typer.echo("  It is the first: from now on the gateway refuses whoever sends none.", err=True)


def _as_json(key: ApiKey) -> dict[str, Any]:
    import msgspec

    return {
        "id": key.id,
        "name": key.name,
        "tasks": sorted(key.tasks),
        "limits": msgspec.to_builtins(key.limits),
        "created_at": key.created_at,
        "revoked_at": key.revoked_at,
    }


def _tasks(key: ApiKey) -> str:
    return ", ".join(sorted(key.tasks)) or "all"


def _limits(limits: Limits) -> str:
    parts = (
        (limits.requests_per_minute, "{} requests/min"),
        (limits.tokens_per_minute, "{} tokens/min"),
        (limits.dollars_per_day, "${:g}/day"),
        (limits.dollars_per_month, "${:g}/month"),
    )
    return ", ".join(shape.format(value) for value, shape in parts if value is not None) or "none"


def _when(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M")
