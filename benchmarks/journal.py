"""The journal at the gateway's full speed: what a record costs, and whether everything behind the gateway keeps up.

    python -m benchmarks.journal
    python -m benchmarks.journal --quick --json journal.json --plot journal.png

Three things are measured. What recording costs a request: encoding an exchange with its full distribution, and
appending it to the local log, beside the bare system call with the same bytes. How fast shipper and archiver go by
themselves, each in this process, with a real Redis and real Parquet files. And the whole way as real processes: a
writer logs at a steady rate on one core, while shipper, Redis and archiver share the other; a rate is sustained where
the oldest record that is not archived stays young. The gateway that is measured in `benchmarks.gateway` logs about
10,000 to 15,000 exchanges a second from one worker: bounds are multiples of that.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from benchmarks._journal_parts import Cost, Pace, request_path_cost, ship_and_archive
from benchmarks._journal_sustained import Run, sustain
from benchmarks._report import Claim, add_options, conclude, wide_console

_LABELS: Final = (10, 77)
_RATES: Final = (15_000, 20_000, 30_000, 40_000, 60_000)
_QUICK_RATES: Final = (12_000,)
_LAG_SECONDS: Final = 5.0
"""Oldest record, in seconds, up to which a rate counts as sustained; the archiver alone waits two before it writes."""

_APPEND_BOUND_US: Final = 4.0
_RECORDING_BOUND: Final = 100_000
_SHIPPER_BOUND: Final = 60_000
_ARCHIVER_BOUND: Final = 30_000
_SUSTAINED_BOUND: Final = 15_000
_PER_CPU_SECOND_BOUND: Final = 30_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point: 0 where every claim holds."""
    parser = argparse.ArgumentParser(prog="benchmarks.journal", description=__doc__.partition("\n")[0])
    add_options(parser)
    options = parser.parse_args(arguments)
    console = wide_console()
    with tempfile.TemporaryDirectory(prefix="tutelage-journal-") as name:
        folder = Path(name)
        costs = [request_path_cost(folder / f"cost-{n}", n, rounds=5 if options.quick else 30) for n in _LABELS]
        shipped, archived = ship_and_archive(folder / "parts", 50_000 if options.quick else 500_000, _LABELS[0])
        runs = []
        for rate in _QUICK_RATES if options.quick else _RATES:
            runs.append(sustain(folder / f"rate-{rate}", rate, 5.0 if options.quick else 12.0))
            if not is_sustained(runs[-1]):
                break
    show(console, costs, shipped, archived, runs)
    details = {
        "costs": [asdict(cost) for cost in costs],
        "shipper": asdict(shipped),
        "archiver": asdict(archived),
        "runs": [asdict(run) | {"lag_seconds": run.lag_seconds} for run in runs],
    }
    if options.plot is not None:
        from benchmarks._journal_plot import draw  # it needs matplotlib, which is for developers

        draw(options.plot, runs)
    claims = claim(costs, shipped, archived, runs, judged=not options.quick)
    return conclude("journal", claims, details, closing(runs), options.json)


def is_sustained(run: Run) -> bool:
    """Whether everything behind the gateway kept up, and the writer could make the rate at all."""
    return run.lag_seconds <= _LAG_SECONDS and run.drained_seconds <= _LAG_SECONDS and run.written >= 0.95 * _due(run)


def claim(costs: Sequence[Cost], shipped: Pace, archived: Pace, runs: Sequence[Run], *, judged: bool) -> list[Claim]:
    """What is claimed, and what of it is judged in a quick run: that nothing is lost or doubled."""
    recording = min(1e6 / (cost.encode_us + cost.append_us) for cost in costs)
    beside = max(cost.append_us - cost.write_us for cost in costs)
    sustained = max((run.written / run.seconds for run in runs if is_sustained(run)), default=0.0)
    per_cpu_second = 1e6 / sum(runs[0].cpu_us.values())
    exact = min(100.0 * min(run.archived, run.distinct) / run.written for run in runs)
    surplus = max(run.archived - run.written for run in runs)

    def bounded(name: str, value: float, bound: float, unit: str) -> Claim:
        return Claim(name, value, bound if judged else None, bound, unit)

    return [
        Claim("logged records that are archived", exact, 100.0, 100.0, " %"),
        Claim("records archived once too often, below zero", -float(surplus), 0.0, 0.0),
        bounded("append: time left of 4 µs beside the system call", _APPEND_BOUND_US - beside, 0.0, " µs"),
        bounded("encode and append: records a second", recording, _RECORDING_BOUND, "/s"),
        bounded("shipper alone", shipped.records_per_second, _SHIPPER_BOUND, "/s"),
        bounded("archiver alone", archived.records_per_second, _ARCHIVER_BOUND, "/s"),
        bounded("sustained, all on one core beside the writer", sustained, _SUSTAINED_BOUND, "/s"),
        bounded("records a CPU second of shipper, Redis, archiver", per_cpu_second, _PER_CPU_SECOND_BOUND, "/s"),
    ]


def show(console: Console, costs: Sequence[Cost], shipped: Pace, archived: Pace, runs: Sequence[Run]) -> None:
    """Print what was measured."""
    table = Table(title="Recording, µs a request", title_justify="left")
    for column in ("labels", "record bytes", "encode", "append", "of it write(2)"):
        table.add_column(column, justify="right")
    for cost in costs:
        measured = (cost.record_bytes, cost.encode_us, cost.append_us, cost.write_us)
        table.add_row(str(cost.labels), *(f"{value:.2f}" for value in measured))
    console.print(table)
    table = Table(title="Alone, records that wait already", title_justify="left")
    for column in ("", "records/s", "CPU µs a record"):
        table.add_column(column, justify="right")
    for name, pace in (("shipper", shipped), ("archiver", archived)):
        table.add_row(name, f"{pace.records_per_second:,.0f}", f"{pace.cpu_us:.2f}")
    console.print(table)
    table = Table(title="The whole way at a steady rate", title_justify="left")
    for column in ("rate/s", "logged/s", "worst lag s", "drained s", "CPU µs a record: shipper", "Redis", "archiver"):
        table.add_column(column, justify="right")
    for run in runs:
        figures = [f"{run.rate:,.0f}", f"{run.written / run.seconds:,.0f}", f"{run.lag_seconds:.1f}"]
        cpu = (f"{run.cpu_us[name]:.2f}" for name in ("shipper", "redis", "archiver"))
        table.add_row(*figures, f"{run.drained_seconds:.1f}", *cpu)
    console.print(table)


def closing(runs: Sequence[Run]) -> str:
    """The line at the end."""
    best = max((run for run in runs if is_sustained(run)), key=lambda run: run.rate, default=None)
    share = runs[0].rate * sum(runs[0].cpu_us.values()) / 1e4
    if best is None:
        return f"the archive does not keep up with {runs[0].rate:,.0f} records/s on this machine"
    return (
        f"{best.written / best.seconds:,.0f} records/s sustained; at {runs[0].rate:,.0f}/s shipper, Redis and archiver "
        f"together take {share:.0f} % of a core"
    )


def _due(run: Run) -> float:
    return run.rate * run.seconds


if __name__ == "__main__":
    sys.exit(main())
