"""`tutelage status`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.settings import load_settings
from tutelage.config import find_config

if TYPE_CHECKING:
    from rich.table import Table

    from core.ledger import Ledger
    from core.settings import Settings
    from monitoring.state import TaskState
    from monitoring.statistics.weights import WeightedMean

_STALE_SECONDS = 60.0


def status(
    config: Annotated[Path | None, typer.Option(help="Settings file; by default tutelage.yaml.")] = None,
) -> None:
    """Say in one screen how every task is doing: from the ledger alone, so that it works whatever else is down.

    Example:

      tutelage status
    """
    from core.ledger import Ledger
    from tutelage.commands._shared import close, console

    settings = load_settings(find_config(config))
    screen, ledger = console(), Ledger(settings.ledger_url)
    try:
        ledger.migrate()
        for name in settings.tasks:
            screen.print(_table(settings, ledger, name))
        alarms = len(ledger.alarms.open())
    finally:
        ledger.close()
    hint = "; `tutelage alarms` says more" if alarms else ""
    close(screen, f"{len(settings.tasks)} task(s), {alarms} open alarm(s){hint}")


def _table(settings: Settings, ledger: Ledger, name: str) -> Table:
    """One task: what is known of it, line by line."""
    from rich.table import Table

    from monitoring.snapshot import read_snapshot

    found = read_snapshot(ledger, name)
    table = Table(title=name, title_justify="left", title_style="bold", show_header=False, box=None, pad_edge=False)
    table.add_column(style="dim", min_width=20)
    table.add_column(overflow="fold")
    state, at = found if found is not None else (None, 0.0)
    error = settings.task(name).watch.interval_error
    for title, text in (
        ("champion", _champion(settings, ledger, name, state)),
        ("answers from", _threshold(settings, ledger, name, state)),
        ("canary", _canary(ledger, name)),
        *_agreements(state, error),
        ("noise ceiling", _ceiling(state, error)),
        ("teacher", _teacher(settings, name, state)),
        ("fresh", _fresh(state)),
        ("teacher answers", "-" if state is None else f"{state.traffic.teacher_share():.0%} of the last exchanges"),
        ("sampling", _sampling(settings, name, state)),
        ("open alarms", _alarms(ledger, name)),
        ("run", _run(ledger, name)),
        ("archive", _archive(ledger, name)),
        ("watched", _watched(at)),
    ):
        table.add_row(title, text)
    return table


def _champion(settings: Settings, ledger: Ledger, name: str, state: TaskState | None) -> str:
    if state is None or not state.champion:
        return "none that has answered yet; the teacher answers"
    trusted, classes = ledger.trusted(name).get(state.champion, frozenset()), len(settings.task(name).labels)
    return f"version {state.champion}, trusted with {len(trusted)} of {classes} classes"


def _threshold(settings: Settings, ledger: Ledger, name: str, state: TaskState | None) -> str:
    """From which confidence on the champion answers."""
    trust = settings.task(name).trust
    lowest = f"confidence {trust.min_confidence:g} on"
    if trust.target_agreement is None:
        return f"{lowest} (trust.min_confidence)"
    found = ledger.thresholds.get(name, state.champion) if state is not None and state.champion else None
    if found is None:
        return f"{lowest} (trust.min_confidence; it was judged without a target, the next version is with one)"
    if found.confidence is None:
        return f"no confidence on: {found.evidence}; the teacher answers everything"
    return f"confidence {max(found.confidence, trust.min_confidence):g} on: {found.evidence}"


def _canary(ledger: Ledger, name: str) -> str:
    canary = ledger.canaries.get(name)
    if canary is None:
        return "none"
    minutes = (time.time() - canary.at) / 60
    return f"version {canary.version} answers {canary.share:.0%} of users, for {minutes:,.0f} minutes now"


def _agreements(state: TaskState | None, error: float) -> list[tuple[str, str]]:
    watched = state.watched if state is not None else None
    rows = []
    for title, agreement in (
        ("student agreement", watched.student if watched else None),
        ("served agreement", watched.served if watched else None),
    ):
        if agreement is None:
            rows.append((title, "-"))
        else:
            lately, whole = _mean(agreement.recent, error), _mean(agreement.whole, error)
            rows.append((title, f"{lately} lately; {whole} since this version began"))
    return rows


def _mean(mean: WeightedMean, error: float) -> str:
    from monitoring.statistics.confidence import confidence_sequence

    interval = confidence_sequence(mean, error)
    if interval is None:
        return "nothing compared"
    return f"{interval.estimate:.1%} [{interval.lower:.1%}, {interval.upper:.1%}] of {mean.count:,}"


def _ceiling(state: TaskState | None, error: float) -> str:
    """How often the teacher agrees with itself, and what that means for a student."""
    from monitoring.noise_ceiling import attainable
    from monitoring.statistics.confidence import confidence_sequence

    interval = confidence_sequence(state.ceiling.mean, error) if state is not None else None
    if state is None or interval is None:
        return "not known yet: the teacher has not been asked twice"
    asked = f"the teacher agrees with itself {_mean(state.ceiling.mean, error)}"
    return f"{asked}; no student can be expected to reach more than {attainable(interval.upper):.1%}"


def _teacher(settings: Settings, name: str, state: TaskState | None) -> str:
    """What the golden set says."""
    if not settings.task(name).asks_golden:
        return "is not asked a golden set"
    golden = state.golden if state is not None else None
    if golden is None or not golden.asked_at:
        return "its golden set has not been asked yet"
    hours = (time.time() - golden.asked_at) / 3600
    if golden.agreement is None:
        return f"answered its golden set for the first time, {hours:,.0f} hours ago"
    text = f"answered {golden.agreement:.1%} of its golden set as at first, {hours:,.0f} hours ago"
    return f"has changed: it {text} (before: {golden.usual or 0.0:.1%})" if golden.changed is not None else text


def _fresh(state: TaskState | None) -> str:
    """What should have come to judge the student by, and has not."""
    if state is None or not state.staleness.looked_at:
        return "-"
    sources = state.staleness.sources
    return "nothing new of: " + ", ".join(one.replace("_", " ") for one in sources) if sources else "yes"


def _sampling(settings: Settings, name: str, state: TaskState | None) -> str:
    task = settings.task(name)
    if not task.samples:
        return "off"
    watched = state.watched if state is not None else None
    text = f"{task.shadow.floor:.0%} of what the student answers, {task.shadow.unsure:.0%} where it is unsure"
    if watched is None or state is None:
        return text
    missing = {outcome: count for outcome, count in watched.outcomes.items() if outcome not in ("answered", "cascaded")}
    lost = "".join(f", {count:,} {outcome.replace('_', ' ')}" for outcome, count in sorted(missing.items()))
    return f"{text}; {watched.drawn:,} drawn, {max(watched.drawn - watched.arrived, 0):,} awaited{lost}"


def _alarms(ledger: Ledger, name: str) -> str:
    found = [
        f"{alarm.signal} ({alarm.severity.value}, {alarm.state.value}"
        + (f", {len(alarm.labels)} classes)" if alarm.labels else ")")
        for alarm in ledger.alarms.open(name)
    ]
    return "; ".join(found) or "none"


def _run(ledger: Ledger, name: str) -> str:
    running = ledger.runs.running(name)
    if running is not None:
        return f"{running.id}: {running.step}"
    last = ledger.runs.newest(name, limit=1)
    return f"none; the last one was {last[0].state.value}" if last else "none yet"


def _archive(ledger: Ledger, name: str) -> str:
    from core.records import Kind

    counts = {kind: ledger.archive_index.count(name, kind.value) for kind in Kind}
    return ", ".join(f"{count:,} {kind.value}" for kind, count in counts.items())


def _watched(at: float) -> str:
    if not at:
        return "not yet; is the monitor running?"
    ago = time.time() - at
    return f"as of {ago:,.0f} s ago" + (
        "; nothing new since, or the monitor is not running" if ago > _STALE_SECONDS else ""
    )
