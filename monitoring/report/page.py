"""The page: one record in, HTML out. It stands by itself: no script, style or picture from anywhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from monitoring.report.facts import Report
from monitoring.report.parts import Estimate
from monitoring.report.picture import agreement_over_time, reliability
from monitoring.telling import dollars, moment, percent

_TEMPLATE: Final = "page.html.j2"
_UNKNOWN: Final = "not known"


def render(report: Report) -> str:
    """The report as a page."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "moment": moment,
        "share": _share,
        "limits": _limits,
        "count": lambda number: f"{number:,}",
        "words": lambda word: word.replace("_", " "),
        "dollars": _dollars,
        "milliseconds": _milliseconds,
        "number": _number,
        "sentence": lambda text: f"{text[:1].upper()}{text[1:]}",
    }
    template = environment.get_template(_TEMPLATE)
    return template.render(report=report, agreement=agreement_over_time(report), reliability=reliability(report))


def _share(value: float | None) -> str:
    return _UNKNOWN if value is None else percent(value)


def _limits(one: Estimate | None) -> str:
    return "" if one is None else f"{100 * one.lower:.1f} to {percent(one.upper)}"


def _dollars(value: float | None) -> str:
    if value is None:
        return _UNKNOWN
    return f"−{dollars(-value)}" if value < 0 else dollars(value)


def _milliseconds(value: float) -> str:
    return f"{value / 1000:,.1f} s" if value >= 10_000 else f"{value:,.0f} ms" if value >= 10 else f"{value:.1f} ms"


def _number(value: float | None, digits: int = 3) -> str:
    return _UNKNOWN if value is None else f"{value:.{digits}f}"
