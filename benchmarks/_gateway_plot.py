"""The picture of `benchmarks.gateway`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from benchmarks._gateway_rounds import Figures

_BLUE, _GREY = "#1f6feb", "#9aa0a8"
_PANELS: Final = {
    "requests a second, 32 connections": "per_second",
    "p50 over one connection (µs)": "one_p50_us",
    "stream events a second": "events_per_second",
    "CPU of a stream event (µs)": "event_cpu_us",
}


def draw(path: Path, figures: Mapping[str, Figures], ours: str, direct: str) -> None:
    """Draw the medians as bars, on logarithmic axes, and save them as `path`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = [name for name in figures if name != direct][::-1]
    figure = Figure(figsize=(11, 1.6 + 0.9 * len(names)), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (title, attribute) in zip(figure.subplots(2, 2).flat, _PANELS.items(), strict=True):
        values = [getattr(figures[name], attribute) for name in names]
        bars = axes.barh(names, values, color=[_BLUE if name == ours else _GREY for name in names])
        axes.bar_label(
            bars, labels=[f"{value:,.0f}" if value >= 100 else f"{value:.1f}" for value in values], padding=3
        )
        axes.set_xscale("log")
        axes.set_xlim(min(values) / 3, max(values) * 4)
        axes.set_title(title, loc="left", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=140)
