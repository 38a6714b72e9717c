"""What a volume of traffic can show at all: how near an estimate comes, how soon a drop is seen, what more would cost.

It is asked before anyone trusts a number: 100,000 queries a month of which one in twenty is compared are 65 comparisons
a month for each of 77 classes, and no statistic makes a table of classes out of that.

The answers are those of the detectors and intervals that will watch, run on simulated comparisons that all weigh the
same. Where confidence tells agreement, the interval of student agreement is narrower than said here; unequal sampling
makes each class's wider.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from monitoring.rules import Rules
from monitoring.statistics.baseline import chernoff_lower
from monitoring.statistics.confidence import confidence_sequence
from monitoring.statistics.delay import Delay, delay_from_baseline, delay_from_level
from monitoring.statistics.weights import WeightedMean

DAYS_A_MONTH: Final = 365.25 / 12
SPANS: Final = (("a week", 7.0), ("a month", DAYS_A_MONTH), ("three months", 3 * DAYS_A_MONTH))
OVERALL_DROPS: Final = (0.02, 0.05, 0.10, 0.20)
CLASS_DROPS: Final = (0.10, 0.20, 0.30, 0.50)
_RATES: Final = (0.01, 0.02, 0.05, 0.10, 0.25, 0.50, 1.0)
_OVERALL_ASKED: Final = 0.05
_CLASS_ASKED: Final = 0.20
_LONGEST_DAYS: Final = 365.25
_MOST: Final = 20_000  # comparisons that are simulated: a drop that takes more is not looked for any longer


@dataclass(frozen=True, slots=True)
class Volume:
    """What is known, or taken to be so, of a task."""

    queries_per_month: float
    compared: float
    """Share of the queries that are compared with the teacher's answer."""
    classes: int
    agreement: float
    """Student agreement, as it is now."""
    validated: int
    """Held-out examples of a class on which its trust rests."""
    call_usd: float | None
    """What one comparison costs, in dollars; None where nobody knows."""

    @property
    def per_day(self) -> float:
        """Comparisons a day; `class_per_day`: of a class as frequent as the average."""
        return self.queries_per_month * self.compared / DAYS_A_MONTH

    @property
    def class_per_day(self) -> float:
        """Comparisons a day of an average class."""
        return self.per_day / self.classes


@dataclass(frozen=True, slots=True)
class Precision:
    """How near the estimates come after a while: half the width of their intervals, in shares."""

    span: str
    comparisons: float
    overall: float
    class_comparisons: float
    of_a_class: float


@dataclass(frozen=True, slots=True)
class Sight:
    """When a drop is seen. Days are infinite where it is not, within a year."""

    drop: float
    comparisons: float
    """From the drop to the alarm, in the median; infinite where it is never seen."""
    days: float
    most_days: float
    """What nine in ten need."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What another share of comparisons would show, and cost."""

    compared: float
    usd_per_month: float | None
    overall_days: float
    """Until a drop of five points of all is seen, in the median; `class_days`: of twenty points of one class."""
    class_days: float


@dataclass(frozen=True, slots=True)
class Power:
    """Everything that there is to say."""

    volume: Volume
    precision: Sequence[Precision]
    overall: Sequence[Sight]
    classes: Sequence[Sight]
    class_baseline: float
    """Agreement below which a class must fall for its own detector to speak."""
    offers: Sequence[Offer]


def power_of(volume: Volume, rules: Rules) -> Power:
    """Work it out, under a task's rules. Takes a second or two."""
    error = rules.baseline_error / volume.classes
    baseline = max(chernoff_lower(volume.agreement, volume.validated, error) - rules.margin, rules.min_agreement)
    learnt = min(max(volume.per_day * DAYS_A_MONTH, 1.0), float(rules.reference_comparisons))
    longest = min(math.ceil(volume.per_day * _LONGEST_DAYS), _MOST)
    longest_of_class = min(math.ceil(volume.queries_per_month * 12 / volume.classes), _MOST)
    overall = {
        drop: delay_from_level(learnt, volume.agreement, drop, rules.student_limit, longest, margin=rules.margin)
        for drop in OVERALL_DROPS
        if drop < volume.agreement
    }
    of_class = {
        drop: delay_from_baseline(baseline, volume.agreement - drop, rules.limit, longest_of_class)
        for drop in CLASS_DROPS
        if drop < volume.agreement
    }
    return Power(
        volume,
        [_precision(volume, rules.interval_error, span, days) for span, days in SPANS],
        [_sight(drop, delay, volume.per_day) for drop, delay in overall.items()],
        [_sight(drop, delay, volume.class_per_day) for drop, delay in of_class.items()],
        baseline,
        [_offer(volume, rate, overall.get(_OVERALL_ASKED), of_class.get(_CLASS_ASKED)) for rate in _RATES],
    )


def half_width(comparisons: float, agreement: float, error: float) -> float:
    """Half the width of a confidence sequence after so many comparisons; 0.5 without any."""
    if comparisons <= 0:
        return 0.5
    good, bad = comparisons * agreement, comparisons * (1 - agreement)
    mean = WeightedMean(round(comparisons), comparisons, good, comparisons, {0: (good, bad)})
    interval = confidence_sequence(mean, error)
    return 0.5 if interval is None else (interval.upper - interval.lower) / 2


def _precision(volume: Volume, error: float, span: str, days: float) -> Precision:
    overall, of_class = volume.per_day * days, volume.class_per_day * days
    return Precision(
        span,
        overall,
        half_width(overall, volume.agreement, error),
        of_class,
        half_width(of_class, volume.agreement, error),
    )


def _sight(drop: float, delay: Delay, per_day: float) -> Sight:
    return Sight(drop, delay.median, _days(delay.median, per_day), _days(delay.most, per_day))


def _offer(volume: Volume, rate: float, overall: Delay | None, of_class: Delay | None) -> Offer:
    per_day = volume.queries_per_month * rate / DAYS_A_MONTH
    dollars = None if volume.call_usd is None else volume.queries_per_month * rate * volume.call_usd
    return Offer(
        rate,
        dollars,
        math.inf if overall is None else _days(overall.median, per_day),
        math.inf if of_class is None else _days(of_class.median, per_day / volume.classes),
    )


def _days(comparisons: float, per_day: float) -> float:
    """How many days it takes; infinite beyond a year."""
    days = comparisons / per_day if per_day > 0 else math.inf
    return days if days <= _LONGEST_DAYS else math.inf
