"""How long clients wait for the student's answers, and for the teacher's: histograms with fixed buckets.

Descriptive. Of an exchange that the teacher answered in the student's stead, the student's time is in it as well.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

import msgspec

from core.records import Answerer, Exchange

BUCKETS: Final = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5),
    *(1.0, 2.0, 5.0, 10.0, 20.0, 60.0),
)
"""Upper ends, in seconds; one more is open."""
_EDGES: Final = tuple(1000 * edge for edge in BUCKETS)


class Histogram(msgspec.Struct):
    """Times in seconds, by bucket."""

    counts: list[int] = msgspec.field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    """Not cumulated; the last is that of the open bucket."""
    milliseconds: float = 0.0
    """Their sum."""


class Speed(msgspec.Struct):
    """A histogram for each of those who answer clients. O(1) an exchange."""

    student: Histogram = msgspec.field(default_factory=Histogram)
    teacher: Histogram = msgspec.field(default_factory=Histogram)

    def add(self, exchange: Exchange) -> None:
        """Count an exchange that somebody answered."""
        histogram = self.teacher if exchange.answered_by is Answerer.TEACHER else self.student
        histogram.counts[bisect_left(_EDGES, exchange.total_ms)] += 1
        histogram.milliseconds += exchange.total_ms

    def of(self, answerer: Answerer) -> Histogram:
        """The histogram of one of the two."""
        return self.teacher if answerer is Answerer.TEACHER else self.student
