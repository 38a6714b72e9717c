"""The tables of `benchmarks.gateway`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

from rich.console import Console
from rich.table import Table

from benchmarks._gateway_rounds import Figures

_WHOLE: Final[dict[str, Callable[[Figures, Figures], str]]] = {
    "req/s": lambda one, _: f"{one.per_second:,.0f}",
    "p50": lambda one, _: f"{one.p50_us:,.0f}",
    "p99": lambda one, _: f"{one.p99_us:,.0f}",
    "CPU": lambda one, _: f"{one.cpu_us:,.1f}",
    "beside": lambda one, _: f"{one.beside_us:,.1f}",
    "1: p50": lambda one, _: f"{one.one_p50_us:,.0f}",
    "+p50": lambda one, direct: f"{one.one_p50_us - direct.one_p50_us:,.0f}",
    "+p99": lambda one, direct: f"{one.one_p99_us - direct.one_p99_us:,.0f}",
    "MiB": lambda one, _: f"{one.memory_mib:,.0f}",
    "failed": lambda one, _: f"{one.failed:,.0f}",
}
_STREAMS: Final[dict[str, Callable[[Figures, Figures], str]]] = {
    "events/s": lambda one, _: f"{one.events_per_second:,.0f}",
    "a core-second": lambda one, _: "-" if math.isinf(one.core_events) else f"{one.core_events:,.0f}",
    "CPU µs": lambda one, _: f"{one.event_cpu_us:,.1f}",
    "busy": lambda one, _: f"{one.stream_busy:.0%}",
    "first: p50 ms": lambda one, _: f"{one.first_p50_ms:.2f}",
    "first: p99 ms": lambda one, _: f"{one.first_p99_ms:.2f}",
}


def print_tables(figures: Mapping[str, Figures], direct: str, versions: Mapping[str, str], console: Console) -> None:
    """Print the medians of all gateways, `direct` being the line without one."""
    whole = (
        "Whole answers over 32 connections, times in µs; CPU on the gateway's core, and beside it on the other; "
        "latency over 1 connection, and what the gateway adds to it"
    )
    streams = (
        "Streams of 50 events, 5 ms apart at the least: events a second, and for each second of the gateway's core; "
        "CPU of an event; time to the first event with 8 streams"
    )
    for title, columns in ((whole, _WHOLE), (streams, _STREAMS)):
        table = Table(title=title, title_justify="left")
        table.add_column("gateway", no_wrap=True)
        for column in columns:
            table.add_column(column, justify="right", no_wrap=True)
        for name, one in figures.items():
            shown = f"{name} {versions[name]}".strip()
            table.add_row(shown, *(render(one, figures[direct]) for render in columns.values()))
        console.print(table)
