"""What a house did over time: both agreements with their intervals, trust, and the events between; as PNG and HTML."""

from __future__ import annotations

import html
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

_BLUE, _ORANGE, _GREY = "#0369a1", "#c2410c", "#64748b"
_EVENT_COLOURS: Final = {"wave": "#7c3aed", "alarm": "#dc2626", "swap": "#15803d", "refused": "#b45309"}


@dataclass(frozen=True, slots=True)
class Estimate:
    """A share with its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Point:
    """One look at the house."""

    exchanges: int
    """Answered since the beginning: the horizontal axis."""
    student: Estimate | None
    """Student agreement."""
    served: Estimate | None
    """Served agreement."""
    trusted: float
    """Share of the classes that the champion may answer."""
    version: str
    """The champion."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened between two looks."""

    exchanges: int
    kind: str
    text: str


@dataclass(slots=True)
class Timeline:
    """All looks and events, in order."""

    title: str
    points: list[Point] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)


def save(timeline: Timeline, png: Path, page: Path) -> None:
    """Draw the timeline as `png`, and as an HTML `page` that stands by itself."""
    figure = _draw(timeline)
    png.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(png, dpi=140)
    vector = io.StringIO()
    figure.savefig(vector, format="svg")
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(_page(timeline, vector.getvalue()), encoding="utf-8")


def _draw(timeline: Timeline) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6.4), layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    _draw_estimates(upper, timeline.points, "student", _BLUE, "student agreement")
    _draw_estimates(upper, timeline.points, "served", _ORANGE, "served agreement")
    upper.set_ylabel("agreement with the teacher")
    upper.set_ylim(_lowest(timeline.points), 1.01)
    upper.legend(loc="lower left", frameon=False)
    upper.set_title(timeline.title, loc="left", fontweight="bold")
    x = [point.exchanges for point in timeline.points]
    lower.fill_between(x, [point.trusted for point in timeline.points], step="post", color=_GREY, alpha=0.35)
    lower.set_ylabel("classes trusted")
    lower.set_ylim(0, 1.02)
    lower.set_xlabel("exchanges")
    for number, event in enumerate(timeline.events):
        colour = _EVENT_COLOURS.get(event.kind, _GREY)
        for axes in (upper, lower):
            axes.axvline(event.exchanges, color=colour, linewidth=1.2, linestyle="--" if event.kind == "wave" else "-")
        upper.annotate(
            event.text,
            (event.exchanges, 0.985 - 0.055 * (number % 5)),
            xycoords=("data", "axes fraction"),
            xytext=(4, 0),
            textcoords="offset points",
            color=colour,
            fontsize=8,
            va="top",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 1.0},
        )
    for axes in (upper, lower):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", alpha=0.25)
    return figure


def _lowest(points: Sequence[Point]) -> float:
    """Where the axis begins: a tenth below the lowest estimate, and at 0.6 at the most."""
    values = [found.value for point in points for found in (point.student, point.served) if found is not None]
    return max(0.0, min(0.6, math.floor(10 * min(values, default=1.0)) / 10 - 0.1))


def _draw_estimates(axes: Any, points: Sequence[Point], name: str, colour: str, label: str) -> None:
    """A line with its interval, broken where a new version begins anew."""
    begun = False
    for segment in _segments(points, name):
        x = [exchanges for exchanges, _ in segment]
        axes.plot(x, [found.value for _, found in segment], color=colour, label=None if begun else label)
        low, high = [found.low for _, found in segment], [found.high for _, found in segment]
        axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
        begun = True


def _segments(points: Sequence[Point], name: str) -> list[list[tuple[int, Estimate]]]:
    segments: list[list[tuple[int, Estimate]]] = []
    version = None
    for point in points:
        found: Estimate | None = getattr(point, name)
        if found is None:
            continue
        if point.version != version:
            segments.append([])
            version = point.version
        segments[-1].append((point.exchanges, found))
    return segments


def _page(timeline: Timeline, vector: str) -> str:
    rows = "".join(
        f"<tr><td>{event.exchanges:,}</td><td>{html.escape(event.kind)}</td><td>{html.escape(event.text)}</td></tr>"
        for event in timeline.events
    )
    picture = vector[vector.index("<svg") :]
    return (
        "<!doctype html><html lang='en'><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{html.escape(timeline.title)}</title>"
        "<style>body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#0f172a}"
        "svg{width:100%;height:auto}table{border-collapse:collapse}td,th{padding:.3rem .8rem;text-align:left;"
        "border-bottom:1px solid #e2e8f0}td:first-child{text-align:right;font-variant-numeric:tabular-nums}</style>"
        f"<h1>{html.escape(timeline.title)}</h1>{picture}"
        f"<h2>What happened</h2><table><tr><th>exchanges</th><th>event</th><th></th></tr>{rows}</table></html>"
    )
