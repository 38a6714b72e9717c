"""How many exchanges a monitor takes, whether its memory stays flat, and whether one that is killed counts each once.

The first two through the journal, with the monitor as a process on one core. A feeder keeps the journal ahead of it, so
that it never waits; what is in a snapshot is trimmed behind it. All that a monitor does at work is included:
comparisons, reviews, Evidently's windows, snapshots in the ledger, and the page of metrics.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

import psutil
from rich.table import Table

from benchmarks._gateway_process import cpu_seconds, resident_mib
from benchmarks._monitoring_feed import Feed
from benchmarks._monitoring_house import House, offset_read, open_house
from benchmarks._monitoring_kills import Survival, survive
from benchmarks._monitoring_part import Part
from benchmarks._report import Claim
from core.journal import Journal

_TASK: Final = "desk"
_CLASSES: Final = 335
_COUNT, _QUICK_COUNT = 5_000_000, 20_000  # exchanges
_SNAPSHOT_SECONDS, _QUICK_SNAPSHOT_SECONDS = 5.0, 0.5  # the setting's default, and so often that quick sees some
_KILLS, _QUICK_KILLS = 12, 0
_KILLS_RATE: Final = 2_000.0
_RATE_BOUND: Final = 5_000.0
_GROWTH_BOUND: Final = 0.05
_BATCH: Final = 500
_AHEAD: Final = 150_000  # exchanges in the journal that are in no snapshot yet
_POLL_SECONDS: Final = 0.1
_SAY_SECONDS: Final = 20.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at the monitor: exchanges that are in its snapshot, when that was stored, and its memory."""

    at: float
    exchanges: int
    mib: float


@dataclass(slots=True)
class Pace:
    """What a run measured."""

    samples: list[Sample] = field(default_factory=list)
    cpu_us: float = 0.0
    """CPU time that the monitor spent on an exchange and what belongs to it, in microseconds."""
    snapshot_bytes: int = 0
    counted: int = 0
    """Exchanges that the monitor counted; `shipped`: that there were. The same for comparisons."""
    shipped: int = 0
    compared: int = 0
    comparisons: int = 0
    windows: int = 0
    """Drift windows that were scored; `skipped`: that were full while another one was."""
    skipped: int = 0

    @property
    def per_second(self) -> float:
        """Exchanges a second, between the first snapshot and the last while there was more to read."""
        first, last = self.samples[0], self.samples[-1]
        return (last.exchanges - first.exchanges) / (last.at - first.at) if last.at > first.at else 0.0

    @property
    def fifths(self) -> list[float]:
        """Median memory over each fifth of the run, in MiB."""
        size = max(len(self.samples) // 5, 1)
        parts = [self.samples[start : start + size] for start in range(0, 5 * size, size)]
        return [median(sample.mib for sample in part) for part in parts if part]

    @property
    def growth(self) -> float:
        """Memory over the last fifth of the run, in parts of that over the third one, less one.

        What is remembered, and what Evidently and the allocator take once, is there by then.
        """
        fifths = self.fifths
        return fifths[-1] / fifths[len(fifths) // 2] - 1


def measure(quick: bool, say: Callable[[str], None]) -> Part:
    """Feed a monitor 5 million exchanges, and kill another one twelve times. quick: 20,000, and none is killed."""
    with tempfile.TemporaryDirectory(prefix="tutelage-scale-") as name:
        folder = Path(name)
        pace = feed(
            folder / "pace",
            _QUICK_COUNT if quick else _COUNT,
            _QUICK_SNAPSHOT_SECONDS if quick else _SNAPSHOT_SECONDS,
            say,
        )
        kills = _QUICK_KILLS if quick else _KILLS
        survival = survive(folder / "kills", _CLASSES, kills, _KILLS_RATE, seed=7, say=say) if kills else None
    return Part(
        "scale",
        _tables(pace, survival),
        claims(pace, survival, judged=not quick),
        {"pace": asdict(pace), "survival": None if survival is None else asdict(survival)},
        f"{pace.per_second:,.0f} exchanges/s of {_CLASSES} classes on one core",
        lambda file: _draw(file, pace),
    )


def feed(folder: Path, count: int, snapshot_seconds: float, say: Callable[[str], None]) -> Pace:
    """Feed so many exchanges to a monitor."""
    with open_house(folder, {_TASK: _CLASSES}, snapshot_seconds) as (house, url), house.monitor() as monitor:
        return asyncio.run(_feed(house, url, monitor, count, say))


async def _feed(house: House, url: str, monitor: psutil.Process, count: int, say: Callable[[str], None]) -> Pace:
    journal, pace, cpu = Journal.connect(url), Pace(), cpu_seconds([monitor])
    feed, read, revision, said = Feed(_TASK, _CLASSES, seed=1), 0, 0, time.monotonic()
    try:
        while not pace.samples or not house.has_read(feed) or feed.truth.total < count:
            while feed.truth.total < min(count, read + _AHEAD):
                await feed.ship(journal, min(_BATCH, count - feed.truth.total))
            await asyncio.sleep(_POLL_SECONDS)
            found = house.snapshot(_TASK)
            if found is None or found.revision == revision:
                continue
            revision, read = found.revision, feed.exchanges_until(offset_read(found, _TASK, feed.source))
            pace.snapshot_bytes = len(found.state)
            if read < count or not pace.samples:
                pace.samples.append(Sample(found.at, read, resident_mib([monitor])))
            house.trim(_TASK, found)
            if time.monotonic() - said > _SAY_SECONDS:
                said = time.monotonic()
                say(f"{read:,} exchanges, {pace.per_second:,.0f}/s, {pace.samples[-1].mib:.0f} MiB")
    finally:
        await journal.close()
    pace.cpu_us = (cpu_seconds([monitor]) - cpu) / count * 1e6
    state = house.state(_TASK)
    pace.counted, pace.shipped = sum(state.exchanges.values()), feed.truth.total
    pace.compared = sum(version.number for version in state.versions.values())
    pace.comparisons = feed.truth.comparisons
    pace.windows, pace.skipped = state.drift.windows, state.drift.skipped
    return pace


def claims(pace: Pace, survival: Survival | None, *, judged: bool) -> list[Claim]:
    """What is claimed. That every exchange counts once is judged in quick too."""
    wrong = abs(pace.counted - pace.shipped) + abs(pace.compared - pace.comparisons)

    def bounded(name: str, value: float, bound: float, unit: str = "") -> Claim:
        return Claim(name, value, bound if judged else None, bound, unit)

    found = [
        bounded("exchanges through a monitor on one core", pace.per_second, _RATE_BOUND, "/s"),
        bounded(
            f"memory: growth left of {100 * _GROWTH_BOUND:.0f} % over the second half",
            100 * (_GROWTH_BOUND - pace.growth),
            0.0,
            " points",
        ),
        bounded("drift windows scored meanwhile", float(pace.windows), 1.0),
        Claim("exchanges and comparisons miscounted, below zero", -float(wrong), 0.0, 0.0),
    ]
    if survival is not None:
        name = f"the same of a monitor killed {survival.kills} times"
        found.append(Claim(name, -float(survival.wrong), 0.0, 0.0))
        found.append(bounded("records it read in the archive", float(survival.from_archive), 1.0))
    return found


def _tables(pace: Pace, survival: Survival | None) -> list[Table]:
    table = Table(title=f"One task of {_CLASSES} classes through a monitor", title_justify="left")
    table.add_column("")
    table.add_column("measured", justify="right")
    rows: dict[str, Any] = {
        "exchanges": f"{pace.shipped:,}",
        "comparisons": f"{pace.comparisons:,}",
        "exchanges a second": f"{pace.per_second:,.0f}",
        "CPU µs an exchange": f"{pace.cpu_us:.1f}",
        "memory, over each fifth of the run": ", ".join(f"{mib:.0f}" for mib in pace.fifths) + " MiB",
        "snapshot": f"{pace.snapshot_bytes / 1e6:.2f} MB",
        "drift windows scored, skipped": f"{pace.windows:,}, {pace.skipped:,}",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    if survival is None:
        return [table]
    killed = Table(
        title=f"A monitor that was killed {survival.kills} times, behind trimmed streams", title_justify="left"
    )
    for column in ("", "there were", "counted"):
        killed.add_column(column, justify="left" if not column else "right")
    truth, counted = sum(survival.truth.values()), sum(survival.exchanges.values())
    killed.add_row("exchanges", f"{truth:,}", f"{counted:,}")
    killed.add_row("comparisons", f"{survival.comparisons:,}", f"{survival.compared:,}")
    killed.add_row("read in the archive by the last one", "", f"{survival.from_archive:,}")
    return [table, killed]


def _draw(file: Path, pace: Pace) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # for developers
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    pairs = list(zip(pace.samples, pace.samples[1:], strict=False))
    rates = [(b.exchanges - a.exchanges) / max(b.at - a.at, 1e-9) for a, b in pairs]
    left.plot([b.exchanges / 1e6 for _, b in pairs], rates)
    left.axhline(_RATE_BOUND, color="grey", linestyle=":", label="bound")
    left.set_ylabel("exchanges a second")
    right.plot([sample.exchanges / 1e6 for sample in pace.samples], [sample.mib for sample in pace.samples])
    right.set_ylabel("memory (MiB)")
    for axes in (left, right):
        axes.set_xlabel("million exchanges")
        axes.set_ylim(bottom=0)
        axes.spines[["top", "right"]].set_visible(False)
    left.legend(frameon=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=140)
