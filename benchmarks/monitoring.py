"""Watching: whether verdicts can be trusted, how soon they come, and what they cost.

    python -m benchmarks.monitoring --data ../shared/data --plot monitoring.png
    python -m benchmarks.monitoring --quick --json monitoring.json
    python -m benchmarks.monitoring --part delay

Six parts, in one run: false alarms on traffic that does not change (and how often intervals cover the truth), the delay
until a change is seen, the teacher calls that an interval costs, real shifts on CLINC150, exchanges through a monitor
on one core, and what a scrape costs. `--data` is a folder with `banking77` and `clinc150`; what needs them is not
judged where it is not given. In full it takes about forty minutes. `--plot` draws a picture for each part, named after
it: `monitoring-delay.png`.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import structlog
from rich.console import Console

from benchmarks._monitoring_part import Part
from benchmarks._report import add_options, conclude, wide_console

_PARTS: Final = ("false_alarms", "delay", "calls", "shift", "scale", "scrape")
_FOLDERS: Final = {"calls": "banking77", "shift": "clinc150"}
"""The data that a part needs, below `--data`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point: 0 where every claim that was judged holds."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.monitoring", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser)
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="holds the folders banking77 and clinc150")
    parser.add_argument("--part", choices=_PARTS, action="append", help="only this one; may be given several times")
    options = parser.parse_args(arguments)
    console = wide_console()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))  # alarms are measured
    parts = [part for name in options.part or _PARTS if (part := run(name, options, console)) is not None]
    if options.plot is not None:
        for part in parts:
            part.draw(options.plot.with_stem(f"{options.plot.stem}-{part.name}"))
    claims = [claim for part in parts for claim in part.claims]
    figures = {part.name: part.figures for part in parts}
    return conclude("monitoring", claims, figures, "; ".join(part.closing for part in parts), options.json)


def run(name: str, options: argparse.Namespace, console: Console) -> Part | None:
    """Measure one part and print its tables; None where the data that it needs is not there."""
    started = time.monotonic()
    part = _measure(name, options, lambda text: console.print(f"[dim]{name}: {text}[/dim]"))
    if part is None:
        return None
    for table in part.tables:
        console.print(table)
    console.print(f"[dim]{name}: {time.monotonic() - started:,.0f} s[/dim]")
    return part


def _measure(name: str, options: argparse.Namespace, say: Callable[[str], None]) -> Part | None:
    measure = importlib.import_module(f"benchmarks._monitoring_{name}").measure  # each brings libraries of its own
    if name not in _FOLDERS:
        part: Part = measure(options.quick, say)
        return part
    folder = None if options.data is None else options.data / _FOLDERS[name]
    found: Part | None = measure(options.quick, say, folder if folder is not None and folder.is_dir() else None)
    return found


if __name__ == "__main__":
    sys.exit(main())
