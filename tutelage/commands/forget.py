"""`tutelage forget`."""

from __future__ import annotations

import getpass
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.errors import DataError, SettingsError
from core.settings import load_settings
from core.telemetry import silence_third_parties
from tutelage.config import find_config

if TYPE_CHECKING:
    from rich.console import Console

    from tutelage.forgetting import Outcome


def forget(
    exchange: Annotated[
        str | None, typer.Option(metavar="ID", help="Forget one exchange, by its id or its completion's.")
    ] = None,
    user: Annotated[str | None, typer.Option(metavar="NAME", help="Forget all that a `user` has asked so far.")] = None,
    task: Annotated[str | None, typer.Option(help="Only of this task; by default of all.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON; needs --yes.")] = False,
    config: Annotated[Path | None, typer.Option(help="Settings file; by default tutelage.yaml.")] = None,
) -> None:
    """Delete an exchange, or all of a user's, with everything that was made of it; what is on its way will not arrive.

    It reaches the archive, the journal, this machine's logs and runs, the monitor's state and the alarms. It may be
    called again at any time. Where roles run on several machines, call it on each that keeps a state folder.

    Examples:

      tutelage forget --exchange ex_01jd8q4m7e3v9k2r5t6w8x0yza

      tutelage forget --user customer-4711 --yes
    """
    silence_third_parties()
    from core.ledger import Ledger
    from tutelage.commands._shared import close, console
    from tutelage.forgetting import Forgetter, Wanted

    if bool(exchange) == bool(user):
        raise SettingsError("name what is to be forgotten: --exchange ID or --user NAME")
    if as_json and not yes:
        raise SettingsError("--json asks nothing, so it needs --yes")
    settings = load_settings(find_config(config))
    wanted = Wanted(exchange or "", user or "", task)
    ledger = Ledger(settings.ledger_url)
    try:
        ledger.migrate()
        forgetter = Forgetter(settings, ledger)
        found = forgetter.find(wanted)
        if not yes:
            typer.confirm(f"Forget {_what(wanted.user, found)}, for good?", abort=True)
        done = forgetter.forget(wanted, found, f"cli:{getpass.getuser()}")
    finally:
        ledger.close()
    if as_json:
        typer.echo(json.dumps({"removed": done.removed, "complete": not done.notes, "notes": done.notes}))
    else:
        screen = console()
        _show(screen, done)
        if not done.notes:
            close(screen, f"forgotten: {sum(done.removed.values())} records, rows and examples")
    if done.notes:
        raise DataError("not everything could be reached: " + "; ".join(done.notes))


def _what(user: str, found: Outcome) -> str:
    ours = sum(name.startswith("ex_") for name in found.exchanges)
    if user:
        return f"{ours} {'exchange' if ours == 1 else 'exchanges'} that this user has asked for"
    return "this exchange" if ours else "the exchange of this completion"


def _show(screen: Console, done: Outcome) -> None:
    from rich.table import Table

    table = Table()
    table.add_column("removed from")
    table.add_column("count", justify="right")
    for place, count in done.removed.items():
        table.add_row(place, str(count))
    screen.print(table)
