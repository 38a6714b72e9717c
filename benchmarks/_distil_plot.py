"""The picture of `benchmarks.distil`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from benchmarks._timing import CpuTimes

_NAMES = {"teacher": "teacher", "student": "student", "gold_only": "student on\nlabels alone"}
_COLOURS = {"teacher": "#7a7f87", "student": "#1f6feb", "gold_only": "#c9a227"}


def draw(path: Path, accuracy: dict[str, NDArray[np.floating[Any]]], times: dict[str, CpuTimes]) -> None:
    """Draw accuracy, one dot a seed, beside CPU time an answer, and save it as `path`."""
    mpl.use("agg")
    from matplotlib import pyplot as plt  # after the choice of the backend

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), constrained_layout=True)
    for at, (name, values) in enumerate(accuracy.items()):
        mean, colour = 100 * values.mean(), _COLOURS[name]
        left.scatter(np.full(len(values), at), 100 * values, color=colour, alpha=0.6, s=22)
        left.hlines(mean, at - 0.25, at + 0.25, color=colour, linewidth=2)
        left.annotate(f"{mean:.1f} %", (at + 0.29, mean), va="center")
    left.set_xticks(range(len(accuracy)), [_NAMES[name] for name in accuracy])
    left.set_xlim(-0.5, len(accuracy) - 0.3)
    left.set_ylabel("accuracy on unseen messages (%), a dot a seed")
    for at, (name, measured) in enumerate(times.items()):
        for shift, value, kind in ((0.12, measured.single_us, "single"), (-0.12, measured.batch_us, "batch of 64")):
            right.scatter(value, at + shift, color=_COLOURS[name], s=60, marker="o" if kind == "single" else "s")
            right.annotate(f"  {value:,.0f} µs, {kind}", (value, at + shift), va="center", fontsize=9)
    right.set_yticks(range(len(times)), list(times))
    right.set_xscale("log")
    right.set_xlim(1, 1e6)
    right.set_ylim(-0.5, len(times) - 0.5)
    right.set_xlabel("CPU time an answer, one thread (µs)")
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)
