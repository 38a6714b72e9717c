"""`tutelage power`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.errors import SettingsError
from core.settings import load_settings
from tutelage.config import DEFAULT, find_config

if TYPE_CHECKING:
    from rich.console import Console

    from core.settings import TaskSettings
    from monitoring.power import Power, Sight, Volume
    from monitoring.state import TaskState

_QUERIES = 100_000.0
_CLASSES = 77
_AGREEMENT = 0.93
_EXAMPLES_A_CLASS = 30
_PROMPT_TOKENS = 200
_ANSWER_TOKENS = 8
_LEAST_COMPARISONS = 100  # before a measured agreement is taken for what it is


def power(
    task: Annotated[str | None, typer.Option(help="Task, where the settings hold several.")] = None,
    queries: Annotated[float | None, typer.Option(min=1, help="Queries a month; by default as measured.")] = None,
    shadow: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share that is compared; by default shadow.floor.")
    ] = None,
    classes: Annotated[int | None, typer.Option(min=2, help="Classes; by default the task's labels.")] = None,
    agreement: Annotated[
        float | None, typer.Option(min=0.5, max=0.999, help="Student agreement now; by default as measured.")
    ] = None,
    validated: Annotated[
        int, typer.Option(min=1, help="Held-out examples of a class on which its trust rests.")
    ] = _EXAMPLES_A_CLASS,
    call_usd: Annotated[
        float | None, typer.Option(min=0, help="Dollars of one comparison; by default the teacher's price.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    config: Annotated[Path | None, typer.Option(help="Settings file; by default tutelage.yaml.")] = None,
) -> None:
    """Say what this much traffic can show: how near estimates come, and in how many days a drop is seen.

    It needs no settings file where --queries and --classes are given.

    Examples:

      tutelage power --queries 100000 --shadow 0.05 --classes 77

      tutelage power --task tickets
    """
    from monitoring.power import power_of
    from monitoring.rules import rules_of
    from tutelage.commands._shared import close, console

    bare = config is None and not DEFAULT.is_file() and queries is not None and classes is not None
    settings, state = (_without_settings(classes or _CLASSES), None) if bare else _of_task(config, task)
    volume = _volume(settings, state, queries, shadow, classes, agreement, validated, call_usd)
    found = power_of(volume, rules_of(settings))
    screen = console()
    if as_json:
        screen.print_json(data=_as_json(found))
        return
    _show(screen, found)
    close(screen, _closing(found))


def _of_task(config: Path | None, task: str | None) -> tuple[TaskSettings, TaskState | None]:
    """A task's settings, and what its monitor last knew."""
    from core.ledger import Ledger
    from monitoring.snapshot import read_snapshot
    from tutelage.commands._shared import chosen_task

    settings = load_settings(find_config(config))
    name = chosen_task(settings, task)
    ledger = Ledger(settings.ledger_url)
    try:
        ledger.migrate()
        found = read_snapshot(ledger, name)
    finally:
        ledger.close()
    return settings.task(name), None if found is None else found[0]


def _without_settings(classes: int) -> TaskSettings:
    """A task with the settings' defaults."""
    from core.settings import TaskSettings, TeacherSettings

    labels = [f"class {number}" for number in range(1, classes + 1)]
    return TaskSettings(labels=labels, teacher=TeacherSettings(base_url="https://unknown.invalid/v1", model="unknown"))


def _volume(
    settings: TaskSettings,
    state: TaskState | None,
    queries: float | None,
    shadow: float | None,
    classes: int | None,
    agreement: float | None,
    validated: int,
    call_usd: float | None,
) -> Volume:
    """What was said wins, then what was measured, then what is usual.

    Raises SettingsError where nothing is compared.
    """
    from monitoring.power import DAYS_A_MONTH, Volume

    measured = None if state is None else state.volume.per_day
    watched = None if state is None else state.watched
    known = watched.student.whole if watched is not None else None
    compared = shadow if shadow is not None else settings.shadow.floor
    if compared <= 0:
        raise SettingsError("nothing is compared, so nothing can be shown; set tasks.*.shadow.floor, or give --shadow")
    if agreement is None:
        seen = known.estimate if known is not None and known.count >= _LEAST_COMPARISONS else None
        agreement = _AGREEMENT if seen is None else min(max(seen, 0.5), 0.999)
    return Volume(
        queries_per_month=queries or (measured * DAYS_A_MONTH if measured else _QUERIES),
        compared=compared,
        classes=classes or len(settings.labels),
        agreement=agreement,
        validated=validated,
        call_usd=call_usd if call_usd is not None else _price(settings, state),
    )


def _price(settings: TaskSettings, state: TaskState | None) -> float | None:
    """Dollars of one comparison: as measured, else at the teacher's price for a message of usual length."""
    from core.prices import price_of

    measured = None if state is None else state.volume.teacher_call_usd
    if measured is not None:
        return measured
    price = price_of(settings.teacher)
    return None if price is None else price.cost(_PROMPT_TOKENS, _ANSWER_TOKENS)


def _show(screen: Console, found: Power) -> None:
    from rich.table import Table

    volume = found.volume
    screen.print(
        f"{volume.queries_per_month:,.0f} queries a month, {volume.compared:.1%} of them compared, student agreement "
        f"{volume.agreement:.1%}:\n{volume.per_day:,.0f} comparisons a day; of {volume.classes} classes an average one "
        f"has {volume.class_per_day * 365.25 / 12:,.0f} a month.\n"
    )
    table = Table(title="How near the estimates come (half the width of the interval)", title_justify="left")
    for column in ("after", "comparisons", "overall", "of a class", "its agreement"):
        table.add_column(column, justify="left" if column == "after" else "right")
    for row in found.precision:
        cells = (
            f"{row.comparisons:,.0f}",
            _points(row.overall),
            f"{row.class_comparisons:,.0f}",
            _points(row.of_a_class),
        )
        table.add_row(row.span, *cells)
    screen.print(table)
    for title, rows in (
        ("When a drop of the whole is seen", found.overall),
        (f"When a drop of one class is seen by itself (below {found.class_baseline:.0%} agreement)", found.classes),
    ):
        table = Table(title=title, title_justify="left")
        for column in ("drop", "comparisons", "days (median)", "days (9 in 10)"):
            table.add_column(column, justify="right")
        for sight in rows:
            table.add_row(f"{100 * sight.drop:.0f} points", _count(sight), _days(sight.days), _days(sight.most_days))
        screen.print(table)
    table = Table(title="What it would cost to see more", title_justify="left")
    for column in ("compared", "dollars a month", "days to see 5 points overall", "days to see 20 points of a class"):
        table.add_column(column, justify="right")
    for offer in found.offers:
        dollars = "give --call-usd" if offer.usd_per_month is None else f"{offer.usd_per_month:,.2f}"
        mark = "[bold]" if math.isclose(offer.compared, volume.compared) else ""
        table.add_row(f"{mark}{offer.compared:.0%}", dollars, _days(offer.overall_days), _days(offer.class_days))
    screen.print(table)


def _closing(found: Power) -> str:
    """What a person should take away."""
    slow = next((sight for sight in found.classes if sight.drop == 0.20), None)
    five = next((sight for sight in found.overall if sight.drop == 0.05), None)
    parts = []
    if five is not None:
        parts.append(f"a drop of 5 points overall is seen in {_in_days(five.days)}")
    if slow is not None:
        parts.append(f"one of 20 points in a single class in {_in_days(slow.days)}")
    month = found.precision[1]
    parts.append(f"after a month a class's agreement is known to {_points(month.of_a_class)}")
    return "; ".join(parts)


def _in_days(days: float) -> str:
    return "more than a year, if at all" if math.isinf(days) else f"{_days(days)} days"


def _points(share: float) -> str:
    return f"± {100 * share:.1f} points"


def _count(sight: Sight) -> str:
    return "-" if math.isinf(sight.comparisons) else f"{sight.comparisons:,.0f}"


def _days(days: float) -> str:
    if math.isinf(days):
        return "not within a year"
    return f"{days:.1f}" if days < 10 else f"{days:,.0f}"


def _as_json(found: Power) -> dict[str, object]:
    """The same for machines; what is never seen is null."""
    from dataclasses import asdict

    def finite(value: object) -> object:
        if isinstance(value, dict):
            return {key: finite(one) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return [finite(one) for one in value]
        return None if isinstance(value, float) and math.isinf(value) else value

    document = finite(asdict(found))
    assert isinstance(document, dict)  # noqa: S101  # a dataclass becomes nothing else
    return document
