"""`tutelage alarms`."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.errors import DataError, SettingsError
from core.settings import load_settings
from tutelage.config import find_config

if TYPE_CHECKING:
    from rich.console import Console

    from core.ledger import Alarm, Ledger
    from core.settings import Settings


def alarms(
    task: Annotated[str | None, typer.Option(help="One task; by default all.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also those that are resolved.")] = False,
    show: Annotated[str | None, typer.Option(metavar="ID", help="Show one alarm with all of its evidence.")] = None,
    acknowledge: Annotated[str | None, typer.Option(metavar="ID", help="Note that you have seen an alarm.")] = None,
    resolve: Annotated[str | None, typer.Option(metavar="ID", help="Close an alarm.")] = None,
    restore_trust: Annotated[
        bool, typer.Option("--restore-trust", help="With --resolve: give back what it took: trust, and confidence.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what is listed or shown as JSON.")] = False,
    test_notification: Annotated[
        bool, typer.Option("--test-notification", help="Send a message through every channel of `notify`.")
    ] = False,
    note: Annotated[str, typer.Option(help="Why; kept with the alarm.")] = "",
    config: Annotated[Path | None, typer.Option(help="Settings file; by default tutelage.yaml.")] = None,
) -> None:
    """List the alarms, newest first; look at one, acknowledge it, or resolve it.

    Examples:

      tutelage alarms

      tutelage alarms --show al_01jd8q4m7e3v9k2r5t6w8x0yza

      tutelage alarms --json --all

      tutelage alarms --test-notification

      tutelage alarms --resolve al_01jd8q4m7e3v9k2r5t6w8x0yza --restore-trust --note "a test of ours"
    """
    from core.ledger import Ledger
    from tutelage.commands._shared import close, console

    settings = load_settings(find_config(config))
    if task is not None:
        settings.task(task)
    screen, ledger = console(), Ledger(settings.ledger_url)
    try:
        ledger.migrate()
        if test_notification:
            _test_notification(screen, settings, ledger)
        elif show is not None and as_json:
            screen.print_json(data=_as_json(_one(ledger, show)))
        elif show is not None:
            from tutelage.commands._alarm_panel import show_alarm

            show_alarm(screen, _one(ledger, show), settings, ledger, time.time())
        elif acknowledge is not None:
            _one(ledger, acknowledge)
            close(screen, _acknowledge(ledger, acknowledge, note))
        elif resolve is not None:
            close(screen, _resolve(ledger, _one(ledger, resolve), note, restore_trust=restore_trust))
        elif as_json:
            screen.print_json(data=[_as_json(alarm) for alarm in _chosen(ledger, task, everything=everything)])
        else:
            close(screen, _list(screen, ledger, task, everything=everything))
    finally:
        ledger.close()


def _one(ledger: Ledger, identifier: str) -> Alarm:
    found = ledger.alarms.get(identifier)
    if found is None:
        raise DataError(f"there is no alarm {identifier!r}; `tutelage alarms --all` lists them")
    return found


def _acknowledge(ledger: Ledger, alarm: str, note: str) -> str:
    from tutelage.commands._shared import who

    if not ledger.alarms.acknowledge(alarm, note, time.time()):
        return f"{alarm} was resolved already"
    ledger.audit(who(), "acknowledge_alarm", detail={"alarm": alarm, "note": note})
    return f"{alarm} is acknowledged"


def _resolve(ledger: Ledger, alarm: Alarm, note: str, *, restore_trust: bool) -> str:
    from monitoring.cascade import restored
    from monitoring.withdrawal import restored_rows
    from tutelage.commands._shared import who

    resolved = ledger.alarms.resolve(alarm.id, note or "resolved by hand", time.time())
    if resolved:
        ledger.audit(who(), "resolve_alarm", alarm.task, alarm.version, {"alarm": alarm.id, "note": note})
    told = f"{alarm.id} is resolved" if resolved else f"{alarm.id} was resolved already"
    if not restore_trust:
        return told
    threshold = restored(ledger.thresholds.get(alarm.task, alarm.version), alarm, time.time())
    if threshold is not None:
        ledger.thresholds.replace(alarm.task, alarm.version, threshold)
        detail = {"alarm": alarm.id, "confidence": threshold.confidence}
        ledger.audit(who(), "restore_threshold", alarm.task, alarm.version, detail)
        told += f"; version {alarm.version} answers from confidence {threshold.confidence:g} on again"
    labels = sorted(alarm.evidence.get("withdrawn", {}))
    if labels:
        rows = restored_rows(ledger.trust(alarm.task, alarm.version), alarm, time.time())
        ledger.set_trust(alarm.task, alarm.version, rows)
        ledger.audit(who(), "restore_trust", alarm.task, alarm.version, {"alarm": alarm.id, "labels": labels})
        told += f"; version {alarm.version} is trusted again with {', '.join(labels)}"
    return told


def _chosen(ledger: Ledger, task: str | None, *, everything: bool) -> list[Alarm]:
    """The newest first."""
    return ledger.alarms.newest(task) if everything else list(reversed(ledger.alarms.open(task)))


def _list(screen: Console, ledger: Ledger, task: str | None, *, everything: bool) -> str:
    from rich.table import Table

    found = _chosen(ledger, task, everything=everything)
    if not found:
        return "no alarms" if everything else "no open alarms; --all shows those that are resolved"
    table = Table()
    for column in ("id", "task", "version", "cause", "severity", "state", "opened", "classes", "withdrawn", "retrains"):
        table.add_column(column, justify="right" if column == "withdrawn" else "left", overflow="fold")
    for alarm in found:
        table.add_row(
            alarm.id,
            alarm.task,
            alarm.version,
            alarm.cause,
            alarm.severity.value,
            alarm.state.value,
            datetime.fromtimestamp(alarm.opened).astimezone().strftime("%Y-%m-%d %H:%M"),
            ", ".join(alarm.labels) or "-",
            str(len(alarm.evidence.get("withdrawn", {}))),
            "yes" if alarm.retrain else "no",
        )
    screen.print(table)
    return f"{len(found)} {'alarm' if len(found) == 1 else 'alarms'}; --show ID tells all about one"


def _test_notification(screen: Console, settings: Settings, ledger: Ledger) -> None:
    """Try every channel, and say what came of each. Raises NotificationError where one of them failed."""
    from core.errors import NotificationError
    from monitoring.notify import open_testers

    testers = open_testers(settings, ledger)
    if not testers:
        raise SettingsError("no channel is set; set notify.alertmanager_url, notify.apprise_urls_env or _file")
    failed = 0
    for name, send in testers.items():
        try:
            send(time.time())
        except NotificationError as error:
            failed += 1
            screen.print(f"[red]✗[/red] {name}: {error.message}", markup=True)
        else:
            screen.print(f"[bold green]✓[/bold green] {name}: delivered")
    if failed:
        raise NotificationError(f"{failed} of {len(testers)} channels did not take the message")


def _as_json(alarm: Alarm) -> dict[str, object]:
    from dataclasses import asdict

    return asdict(alarm)
