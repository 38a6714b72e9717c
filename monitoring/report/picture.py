"""The report's two plots, as SVG that takes its colours from the page: agreement over time, and reliability."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Final

from markupsafe import Markup, escape

from monitoring.report.facts import Report
from monitoring.report.parts import Bar, Estimate
from monitoring.report.window import DAY
from monitoring.telling import moment, percent

_WIDTH: Final = 760.0
_HEIGHT: Final = 260.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 12.0, 12.0, 30.0
_TICKS: Final = 8
_SQUARE: Final = 300.0
_SWAPS: Final = ("promote", "rollback")

Scale = Callable[[float], float]


def agreement_over_time(report: Report) -> Markup | None:
    """Each slot's agreement with its limits, and that of all since the window began; None without comparisons."""
    told = [one for slot in report.slots for one in (slot.agreement, slot.so_far) if one is not None]
    if not told:
        return None
    lowest = max(min(0.05 * int(20 * min(one.estimate for one in told)) - 0.1, 0.9), 0.0)
    x = _scale(report.began, report.ended, _LEFT, _WIDTH - _RIGHT)
    y = _scale(lowest, 1.0, _HEIGHT - _BOTTOM, _TOP)
    parts = [*_shares(lowest, y), *_times(report, x), *_band(report, x, y)]
    whole = report.whole
    if whole is not None:
        parts += _level(whole.baseline, "lower bound learnt of this version", "soft", lowest, y)
        parts += _level(whole.attainable, "no student can be expected to reach more", "good", lowest, y)
    parts += [
        mark for slot in report.slots for mark in _whisker(slot.agreement, x((slot.began + slot.ended) / 2), y, lowest)
    ]
    parts += _events(report, x)
    return _drawn(_WIDTH, _HEIGHT, _alt(report, told), parts)


def reliability(report: Report) -> Markup | None:
    """Agreement by confidence, beside the diagonal of perfect calibration; None without comparisons."""
    bars = [bar for bar in report.calibration.bars if bar.comparisons]
    if not bars:
        return None
    at, up = _scale(0, 1, _LEFT, _SQUARE - _RIGHT), _scale(0, 1, _SQUARE - _BOTTOM, _TOP)
    most = max(bar.comparisons for bar in bars)
    parts = [*_shares(0.0, up, width=_SQUARE), _line(at(0), up(0), at(1), up(1), "diagonal")]
    parts += [_bar(bar, at, up, most) for bar in bars]
    parts += [_text(at(tick), _SQUARE - 12, f"{tick:g}", "middle") for tick in (0.0, 0.25, 0.5, 0.75, 1.0)]
    alt = "; ".join(
        f"confidence {percent(bar.confidence or 0)}, agreement {percent(bar.agreement or 0)}, {bar.comparisons:,} times"
        for bar in bars
    )
    return _drawn(_SQUARE, _SQUARE, f"Reliability diagram: {alt}", parts)


def _alt(report: Report, told: list[Estimate]) -> str:
    last = told[-1]
    return (
        f"Student agreement of version {report.version} from {moment(report.began)} to {moment(report.ended)}: at the "
        f"end {percent(last.estimate)}, between {percent(last.lower)} and {percent(last.upper)}. The table of the "
        "window's parts holds the numbers."
    )


def _band(report: Report, x: Scale, y: Scale) -> Iterable[str]:
    """The confidence sequence of all comparisons since the window began."""
    there = [(x(slot.ended), slot.so_far) for slot in report.slots if slot.so_far is not None]
    if len(there) < 2:
        return
    upper = [f"{at:.1f},{y(one.upper):.1f}" for at, one in there]
    lower = [f"{at:.1f},{min(y(one.lower), _HEIGHT - _BOTTOM):.1f}" for at, one in reversed(there)]
    yield f'<polygon class="band" points="{" ".join([*upper, *lower])}"/>'
    middle = " ".join(f"{at:.1f},{y(one.estimate):.1f}" for at, one in there)
    yield f'<polyline class="mean" points="{middle}"/>'


def _whisker(one: Estimate | None, at: float, y: Scale, lowest: float) -> Iterable[str]:
    if one is None:
        return
    yield _line(at, y(max(one.lower, lowest)), at, y(one.upper), "whisker")
    title = f"{percent(one.estimate)}, {percent(one.lower)} to {percent(one.upper)}, {one.count} comparisons"
    yield f'<circle class="dot" cx="{at:.1f}" cy="{y(one.estimate):.1f}" r="3.2"><title>{title}</title></circle>'


def _events(report: Report, x: Scale) -> Iterable[str]:
    """When alarms about this version opened, and when somebody promoted or rolled back."""
    marks = [
        (one.opened, "alarm", one.cause.replace("_", " ")) for one in report.alarms if one.version == report.version
    ]
    marks += [(one.at, "deed", f"{one.action} {one.version}") for one in report.deeds if one.action in _SWAPS]
    for at, kind, told in marks:
        if report.began <= at < report.ended:
            line = _line(x(at), _TOP, x(at), _HEIGHT - _BOTTOM, kind)
            yield f"<g><title>{escape(told)}, {moment(at)}</title>{line}</g>"


def _level(value: float | None, told: str, kind: str, lowest: float, y: Scale) -> Iterable[str]:
    if value is not None and lowest <= value <= 1:
        line = _line(_LEFT, y(value), _WIDTH - _RIGHT, y(value), f"level {kind}")
        yield f"<g><title>{percent(value)}: {told}</title>{line}</g>"


def _bar(bar: Bar, at: Scale, up: Scale, most: int) -> str:
    """As strong as there are comparisons in it."""
    agreement, confidence = bar.agreement or 0.0, bar.confidence or 0.0
    left, right = at(bar.began) + 1.5, at(bar.began + 0.1) - 1.5
    strength = 0.25 + 0.55 * (bar.comparisons / most) ** 0.5
    title = f"confidence {percent(confidence)}, agreement {percent(agreement)}, {bar.comparisons} comparisons"
    box = (
        f'<rect class="bar" style="opacity:{strength:.2f}" x="{left:.1f}" y="{up(agreement):.1f}" '
        f'width="{right - left:.1f}" height="{max(up(0) - up(agreement), 0.5):.1f}"/>'
    )
    dot = f'<circle class="dot" cx="{at(confidence):.1f}" cy="{up(agreement):.1f}" r="3"/>'
    return f"<g><title>{title}</title>{box}{dot}</g>"


def _shares(lowest: float, y: Scale, width: float = _WIDTH) -> Iterable[str]:
    step = 0.05 if 1 - lowest <= 0.3 else 0.1 if 1 - lowest <= 0.6 else 0.2
    for number in range(round((1 - lowest) / step) + 1):
        share = 1 - number * step
        if share >= lowest - 1e-9:
            yield _line(_LEFT, y(share), width - _RIGHT, y(share), "grid")
            yield _text(_LEFT - 6, y(share) + 4, f"{100 * share:.0f} %", "end")


def _times(report: Report, x: Scale) -> Iterable[str]:
    """Days where the window has several, else hours."""
    midnights = [slot.began for slot in report.slots if slot.began % DAY == 0]
    by_day = len(midnights) > 2
    ticks = midnights if by_day else [slot.began for slot in report.slots]
    for tick in ticks[:: math.ceil(len(ticks) / _TICKS)]:
        at = datetime.fromtimestamp(tick, UTC)
        yield _text(x(tick), _HEIGHT - 10, f"{at:%d %b}" if by_day else f"{at:%H:%M}", "middle")


def _scale(low: float, high: float, first: float, last: float) -> Scale:
    span = (last - first) / (high - low)
    return lambda value: first + (value - low) * span


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, told: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(told)}</text>'


def _drawn(width: float, height: float, alt: str, parts: Iterable[str]) -> Markup:
    head = f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(alt)}">'
    return Markup(head + "".join(parts) + "</svg>")  # noqa: S704 - every word in it is escaped above
