"""The books as a picture, in SVG: dollars over time, and how soon it pays at other volumes.

The picture has light and dark colours of its own and no fonts, scripts or addresses: it may stand in any page.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Final

from jinja2 import Environment

from training.economics.books import bill_of, break_even, least_queries
from training.economics.case import Case
from training.economics.words import in_words

_HORIZONS: Final = (1.0, 3.0, 12.0, 24.0, 36.0, 60.0)
_YEAR: Final = 12.0
_ROOM: Final = 1.5  # how far the time axis goes beyond break-even
_DECADES: Final = 2  # of volumes, to either side of the case's own
_STEPS: Final = 60
_MONTHS: Final = (0.01, 0.1, 1.0, 10.0, 100.0)
_LEAST_MONTHS, _MOST_MONTHS = _MONTHS[0], _MONTHS[-1]
_LEFT, _TOP, _WIDTH, _HEIGHT = 78.0, 64.0, 340.0, 240.0  # pixels
_APART: Final = 500.0


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis, at a pixel."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One plot: its box in pixels, its marks, and its lines by class as SVG's points."""

    title: str
    x: float
    y: float
    width: float
    height: float
    x_label: str
    y_label: str
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    lines: dict[str, str]
    mark: tuple[float, float] | None
    """Where the case itself stands."""
    note: str
    shade: float
    """Width, from the left, of what never pays."""


def draw(case: Case) -> str:
    """The picture, as the text of an SVG file."""
    template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        files("training.economics").joinpath("picture.svg.j2").read_text(encoding="utf-8")
    )
    panels = [_over_time(case), _over_volume(case)]
    return template.render(case=case, panels=panels, width=_LEFT + 2 * _APART - 70, height=_TOP + _HEIGHT + 64)


def _over_time(case: Case) -> Panel:
    books = case.books()
    bill, point = bill_of(books), break_even(books)
    horizon = next((months for months in _HORIZONS if months >= _ROOM * point.months), _YEAR)
    ended = books.distillation_usd + bill.together * horizon
    most = max(bill.teacher_alone * horizon, ended) or 1.0

    def x(months: float) -> float:
        return round(_LEFT + _WIDTH * months / horizon, 1)

    def y(dollars: float) -> float:
        return round(_TOP + _HEIGHT * (1 - dollars / most), 1)

    shown = point.months <= horizon
    return Panel(
        title="Dollars spent in all",
        x=_LEFT,
        y=_TOP,
        width=_WIDTH,
        height=_HEIGHT,
        x_label="months",
        y_label="$",
        x_ticks=[Tick(x(at), f"{at:g}") for at in _marks(horizon)],
        y_ticks=[Tick(y(at), f"${_short(at)}") for at in _marks(most)],
        lines={
            "teacher": _points([(x(0), y(0)), (x(horizon), y(bill.teacher_alone * horizon))]),
            "student": _points([(x(0), y(books.distillation_usd)), (x(horizon), y(ended))]),
        },
        mark=(x(point.months), y(bill.teacher_alone * point.months)) if shown else None,
        note="never breaks even" if math.isinf(point.months) else f"breaks even after {in_words(point.months)}",
        shade=0.0,
    )


def _over_volume(case: Case) -> Panel:
    books = case.books()
    middle = round(math.log10(books.queries))
    first, last = middle - _DECADES, middle + _DECADES
    left = _LEFT + _APART
    span = math.log10(_MOST_MONTHS / _LEAST_MONTHS)

    def x(queries: float) -> float:
        part = (math.log10(queries) - first) / (last - first)
        return round(left + _WIDTH * min(max(part, 0.0), 1.0), 1)

    def y(months: float) -> float:
        part = math.log10(max(months, _LEAST_MONTHS) / _LEAST_MONTHS) / span
        return round(_TOP + _HEIGHT * (1 - min(part, 1.0)), 1)

    def months_at(queries: float) -> float:
        return break_even(replace(books, queries=queries)).months

    volumes = [10 ** (first + (last - first) * step / _STEPS) for step in range(_STEPS + 1)]
    own, least = months_at(books.queries), least_queries(books)
    return Panel(
        title="Months until it pays, by volume",
        x=left,
        y=_TOP,
        width=_WIDTH,
        height=_HEIGHT,
        x_label="queries a month",
        y_label="months",
        x_ticks=[Tick(x(10.0**power), _short(10.0**power)) for power in range(first, last + 1)],
        y_ticks=[Tick(y(at), f"{at:g}" if at > _LEAST_MONTHS else f"≤ {at:g}") for at in _MONTHS],
        lines={"student": _curve(volumes, months_at, x, y)},
        mark=(x(books.queries), y(own)) if own <= _MOST_MONTHS else None,
        note=f"{_short(books.queries)} queries a month: {in_words(own)}",
        shade=_WIDTH if math.isinf(least) else max(x(least) - left, 0.0) if least > 0 else 0.0,
    )


def _curve(
    volumes: Sequence[float],
    months_at: Callable[[float], float],
    x: Callable[[float], float],
    y: Callable[[float], float],
) -> str:
    found = [(queries, months_at(queries)) for queries in volumes]
    return _points([(x(queries), y(months)) for queries, months in found if months <= _MOST_MONTHS])


def _points(pairs: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in pairs)


def _marks(most: float) -> list[float]:
    """Four to nine round numbers from 0 to `most`."""
    step = 10.0 ** math.floor(math.log10(most / 4))
    step *= next(factor for factor in (5.0, 2.0, 1.0) if 4 * factor * step <= most)
    return [step * number for number in range(math.floor(most / step) + 1)]


def _short(number: float) -> str:
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.3g}"
