"""An interval as three gauges."""

from __future__ import annotations

from collections.abc import Mapping

from monitoring.exposition import Page
from monitoring.statistics.confidence import Interval


def draw_interval(page: Page, name: str, what: str, interval: Interval | None, labels: Mapping[str, str]) -> None:
    """Estimate and limits of a confidence sequence; NaN where nothing is known.

    `what` is measured, as it stands behind "the": `agreement with the teacher`, `share of right answers`.
    """
    lower, estimate, upper = (None,) * 3 if interval is None else (interval.lower, interval.estimate, interval.upper)
    page.gauge(name, f"{what[0].upper()}{what[1:]}.", estimate, labels)
    page.gauge(name + "_lower", f"Lower limit, valid at all times, of the {what}.", lower, labels)
    page.gauge(name + "_upper", f"Upper limit, valid at all times, of the {what}.", upper, labels)
