"""The pictures of false alarms and of delay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import matplotlib as mpl
import numpy as np

from benchmarks._monitoring_vectorised import Floats, Ints

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_GREY: Final = "#7a7f87"
_STYLES: Final = {
    "Tutelage, as set": {"color": "#1f6feb"},
    "Tutelage, all of the 1 %": {"color": "#1f6feb", "linestyle": ":"},
    "oracle CUSUM": {"color": "#2da44e"},
    "windows of 400": {"color": "#c9a227"},
    "sliding window of 400": {"color": "#c9a227", "linestyle": ":"},
    "windows of 800": {"color": "#b35900"},
    "sliding window of 800": {"color": "#b35900", "linestyle": ":"},
}


@dataclass(frozen=True, slots=True)
class DelayCurves:
    """One panel: delays by method, in comparisons, each of shape (streams,), and Lorden's bound."""

    name: str
    delays: Mapping[str, Floats]
    bound: float


def draw_false_alarms(
    path: Path, ours: Mapping[str, tuple[Ints, Floats]], plain: Mapping[str, tuple[Ints, Floats]], most: float
) -> None:
    """Draw the share of streams with an alarm (percent) by the number of looks: by traffic, and by check."""
    mpl.use("agg")
    from matplotlib import pyplot as plt  # after the choice of the backend

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), constrained_layout=True)
    for axis, curves, title in (
        (left, ours, "Tutelage at the 1 % setting, by traffic"),
        (right, plain, "independent comparisons, by check"),
    ):
        for name, (looks, shares) in curves.items():
            axis.step(np.append(0, looks), np.append(0.0, shares), where="post", label=name)
        axis.axhline(most, color=_GREY, linestyle="--", linewidth=1)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("comparisons without a change")
        axis.set_ylabel("streams with an alarm so far (%)")
        axis.set_ylim(bottom=0)
        axis.legend(fontsize=7, frameon=False)
        _tidy(axis)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def draw_delays(path: Path, panels: Sequence[DelayCurves]) -> None:
    """Draw which share of the changes was seen after how many comparisons, a panel for each drop."""
    mpl.use("agg")
    from matplotlib import pyplot as plt  # after the choice of the backend

    figure, axes = plt.subplots(1, len(panels), figsize=(4 * len(panels), 3.8), constrained_layout=True)
    for axis, panel in zip(np.atleast_1d(axes), panels, strict=True):
        for method, delays in panel.delays.items():
            style: dict[str, Any] = dict(_STYLES.get(method, {}))
            share = 100 * np.arange(1, len(delays) + 1) / len(delays)
            axis.step(np.sort(delays), share, where="post", linewidth=1.4, label=method, **style)
        axis.axvline(panel.bound, color=_GREY, linestyle="--", linewidth=1, label="Lorden, asymptotic")
        axis.set_title(panel.name, fontsize=10)
        axis.set_xlim(0, 2.5 * panel.bound)
        axis.set_xlabel("comparisons since the change")
        _tidy(axis)
    first, last = np.atleast_1d(axes)[[0, -1]]
    first.set_ylabel("changes seen (%)")
    last.legend(fontsize=7, frameon=False, loc="lower right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _tidy(axis: Axes) -> None:
    axis.spines[["top", "right"]].set_visible(False)
