"""What a scrape costs with 20 tasks of 335 classes: while nothing is read, and while the readers have all they can do.

Beside it stands what it would take prometheus_client to render as many series afresh.
"""

from __future__ import annotations

import asyncio
import http.client
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from rich.table import Table

from benchmarks._monitoring_feed import Feed, class_names
from benchmarks._monitoring_house import House, open_house
from benchmarks._monitoring_part import Part
from benchmarks._report import Claim
from core.journal import Journal

_CLASSES: Final = 335
_TASKS, _QUICK_TASKS = 20, 3
_SEEN, _QUICK_SEEN = 8_000, 1_000  # exchanges of each task before the first scrape: most classes are compared by then
_BACKLOG, _QUICK_BACKLOG = 10_000, 3_000  # and those that it has to read while it is scraped
_IDLE, _QUICK_IDLE = 100, 20  # scrapes
_BOUND_MS: Final = 50.0
_SERIES_BOUND: Final = 26_800
_BATCH: Final = 500
_SNAPSHOT_SECONDS: Final = 5.0
_QUICK_SNAPSHOT_SECONDS: Final = 1.0
_PAUSE_SECONDS: Final = 0.1
_ROUNDS: Final = 5


@dataclass(slots=True)
class Scrapes:
    """Milliseconds from the connection until the last byte had come, and what came."""

    idle_ms: list[float] = field(default_factory=list)
    busy_ms: list[float] = field(default_factory=list)
    busy_per_second: float = 0.0
    """Exchanges a second that were read meanwhile."""
    series: int = 0
    bytes: int = 0
    afresh_ms: float = 0.0
    """What prometheus_client takes to render as many series; the fastest of five times."""


def measure(quick: bool, say: Callable[[str], None]) -> Part:
    """Scrape a monitor, idle and busy."""
    tasks, seen, backlog, idle = (
        (_QUICK_TASKS, _QUICK_SEEN, _QUICK_BACKLOG, _QUICK_IDLE) if quick else (_TASKS, _SEEN, _BACKLOG, _IDLE)
    )
    snapshot_seconds = _QUICK_SNAPSHOT_SECONDS if quick else _SNAPSHOT_SECONDS
    names = [f"task-{number:02d}" for number in range(tasks)]
    found = Scrapes()
    with (
        tempfile.TemporaryDirectory(prefix="tutelage-scrape-") as name,
        open_house(Path(name) / "house", dict.fromkeys(names, _CLASSES), snapshot_seconds) as (house, url),
    ):
        feeds = [Feed(name, _CLASSES, seed=number) for number, name in enumerate(names)]
        asyncio.run(_ship(url, feeds, seen))
        with house.monitor():
            while not all(map(house.has_read, feeds)):
                time.sleep(_PAUSE_SECONDS)
            say(f"{tasks} tasks are read")
            found.idle_ms = [_scrape(house, found) for _ in range(idle)]
        asyncio.run(_ship(url, feeds, backlog))
        say(f"{tasks * backlog:,} exchanges wait to be read")
        with house.monitor():
            start = time.perf_counter()
            while not all(map(house.has_read, feeds)):
                found.busy_ms.append(_scrape(house, found))
            found.busy_per_second = tasks * backlog / (time.perf_counter() - start)
    found.afresh_ms = _afresh_ms(found.series)
    return Part(
        "scrape",
        [_table(found, tasks)],
        _claims(found, judged=not quick),
        asdict(found),
        f"a scrape of {found.series:,} series takes {max(found.busy_ms):.0f} ms at most",
        lambda file: _draw(file, found),
    )


async def _ship(url: str, feeds: Sequence[Feed], count: int) -> None:
    journal = Journal.connect(url)
    try:
        for _ in range(0, count, _BATCH):
            for feed in feeds:
                await feed.ship(journal, _BATCH)
    finally:
        await journal.close()


def _scrape(house: House, found: Scrapes) -> float:
    """Scrape as Prometheus does, and wait a while; returns how long the scrape took, in milliseconds."""
    start = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", house.port, timeout=30.0)
    connection.request("GET", "/metrics")
    body = connection.getresponse().read()
    took = (time.perf_counter() - start) * 1e3
    connection.close()
    found.bytes = max(found.bytes, len(body))
    found.series = max(found.series, sum(1 for line in body.splitlines() if not line.startswith(b"#")))
    time.sleep(_PAUSE_SECONDS)
    return took


def _afresh_ms(series: int) -> float:
    registry = CollectorRegistry()
    gauge = Gauge("tutelage_monitor_class_agreement", "Agreement.", ("task", "class"), registry=registry)
    classes = class_names(_CLASSES)
    for number in range(series):
        gauge.labels(f"task-{number // _CLASSES:02d}", classes[number % _CLASSES]).set(number / series)
    best = float("inf")
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        generate_latest(registry)
        best = min(best, (time.perf_counter() - start) * 1e3)
    return best


def _claims(found: Scrapes, *, judged: bool) -> list[Claim]:
    worst = {
        name: float(np.quantile(times, 0.99)) for name, times in (("idle", found.idle_ms), ("busy", found.busy_ms))
    }
    bound, least = (0.0, float(_SERIES_BOUND)) if judged else (None, None)
    return [
        Claim("series on the page", float(found.series), least, float(_SERIES_BOUND)),
        *(
            Claim(f"scrape, {name}: time left of 50 ms, 99th percentile", _BOUND_MS - value, bound, 0.0, " ms")
            for name, value in worst.items()
        ),
    ]


def _table(found: Scrapes, tasks: int) -> Table:
    title = f"A scrape of {tasks} tasks of {_CLASSES} classes: {found.series:,} series, {found.bytes / 2**20:.1f} MiB"
    table = Table(title=title, title_justify="left")
    for column in ("ms", "median", "99 %", "most", "scrapes"):
        table.add_column(column, justify="left" if column == "ms" else "right")
    for name, times in (
        ("idle", found.idle_ms),
        (f"busy: {found.busy_per_second:,.0f} exchanges/s are read", found.busy_ms),
    ):
        figures = (np.median(times), np.quantile(times, 0.99), max(times))
        table.add_row(name, *(f"{figure:.1f}" for figure in figures), str(len(times)))
    table.add_row("rendering afresh (prometheus_client)", f"{found.afresh_ms:.1f}", "", "", "")
    return table


def _draw(file: Path, found: Scrapes) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # for developers
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for name, times in (("idle", found.idle_ms), ("busy", found.busy_ms)):
        axes.ecdf(times, label=name)
    axes.axvline(_BOUND_MS, color="grey", linestyle=":", label="bound")
    axes.axvline(found.afresh_ms, color="tab:red", linestyle="--", label="rendering afresh")
    axes.set_xscale("log")
    axes.set_xlabel("milliseconds until the last byte")
    axes.set_ylabel("share of scrapes")
    axes.set_title(f"A scrape of {found.series:,} series")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=140)
