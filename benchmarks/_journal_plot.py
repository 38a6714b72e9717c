"""The picture of `benchmarks.journal`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks._journal_sustained import Run

_COLOURS: Final = {"shipper": "#1f6feb", "redis": "#c9a227", "archiver": "#7a7f87"}


def draw(path: Path, runs: Sequence[Run]) -> None:
    """Draw how old the oldest unarchived record was at each rate, beside the CPU that each took; save it as `path`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for run in runs:
        times = [at for at, _ in run.behind]
        left.plot(times, [behind / run.rate for _, behind in run.behind], label=f"{run.rate:,.0f}/s")
    left.set_xlabel("seconds")
    left.set_ylabel("oldest unarchived record, seconds")
    left.set_ylim(bottom=0)
    left.legend(frameon=False, title="records logged")
    bottoms = [0.0] * len(runs)
    for name, colour in _COLOURS.items():
        shares = [run.rate * run.cpu_us[name] / 1e4 for run in runs]
        right.bar([f"{run.rate:,.0f}/s" for run in runs], shares, bottom=bottoms, color=colour, label=name)
        bottoms = [sum(pair) for pair in zip(bottoms, shares, strict=True)]
    right.set_ylabel("share of one core (%)")
    right.legend(frameon=False)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=140)
