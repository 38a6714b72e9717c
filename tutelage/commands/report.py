"""`tutelage report`."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.errors import SettingsError
from core.settings import load_settings
from tutelage.config import find_config

if TYPE_CHECKING:
    from monitoring.report.window import Window

_DAYS = 7
_DATE = ["%Y-%m-%d"]


def report(
    task: Annotated[str | None, typer.Option(help="Task, where the settings hold several.")] = None,
    days: Annotated[
        int | None, typer.Option(min=1, max=3660, help=f"Today and the days before, so many; by default {_DAYS}.")
    ] = None,
    first: Annotated[
        datetime | None, typer.Option("--from", formats=_DATE, metavar="DAY", help="First day of the window (UTC).")
    ] = None,
    last: Annotated[
        datetime | None, typer.Option("--to", formats=_DATE, metavar="DAY", help="Last day; by default today.")
    ] = None,
    version: Annotated[
        str | None, typer.Option(help="Version of the student; by default the champion, if it answered.")
    ] = None,
    evidently: Annotated[
        bool, typer.Option("--evidently", help="Write Evidently's own page beside it. Takes half a minute.")
    ] = False,
    open_path: Annotated[
        bool, typer.Option("--open-path", help="Print nothing but the page's path, to open it with.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    config: Annotated[Path | None, typer.Option(help="Settings file; by default tutelage.yaml.")] = None,
) -> None:
    """Write how one version did in one window as a page that stands by itself (HTML), and as JSON.

    The monitor writes one by itself for each day and version (`watch.report_hours`).

    Examples:

      tutelage report

      tutelage report --task tickets --from 2026-03-01 --to 2026-03-07 --version 4

      xdg-open $(tutelage report --days 1 --open-path)
    """
    from core.archive import Archive
    from core.ledger import Ledger
    from monitoring.report import store
    from monitoring.report.build import choose_version
    from monitoring.report.writing import write_report
    from tutelage.commands._shared import chosen_task, close, console

    if open_path and as_json:
        raise SettingsError("--open-path and --json both say what to print; give one of them")
    now = time.time()
    window = _window(days, first, last, now)
    settings = load_settings(find_config(config))
    name = chosen_task(settings, task)
    ledger = Ledger(settings.ledger_url)
    try:
        ledger.migrate()
        archive = Archive(settings.archive_url, ledger)
        named = version or choose_version(archive, ledger, name, window)
        found, page = write_report(settings, ledger, archive, name, named, window, now, evidently=evidently)
    finally:
        ledger.close()
    if as_json:
        typer.echo(store.as_json(found).decode())
        return
    if open_path:
        typer.echo(str(page))
        return
    screen = console()
    screen.print(f"[bold]{found.headline}[/bold]: version {named} of {name}, {window.name}")
    for line in (*found.good, *found.changed, *found.done):
        screen.print(f"  {line}", markup=False)
    if found.other_versions:
        others = ", ".join(f"{other} ({count:,} exchanges)" for other, count in found.other_versions.items())
        screen.print(f"  In the same window answered, too: version {others}; choose with --version", markup=False)
    if found.evidently is not None and not found.evidently.written:
        screen.print(f"  Evidently's page is not there: {found.evidently.why_not}", markup=False)
    close(screen, str(page))


def _window(days: int | None, first: datetime | None, last: datetime | None, now: float) -> Window:
    """The days that were asked for. Raises SettingsError where that is not clear."""
    from monitoring.report import window

    if first is None:
        if last is not None:
            raise SettingsError("--to says where the window ends, but not where it begins; give --from as well")
        return window.last_days(days or _DAYS, now)
    if days is not None:
        raise SettingsError("--days counts back from today, and --from names a day; give one of them")
    return window.days(first.date(), datetime.fromtimestamp(now, UTC).date() if last is None else last.date())
