"""Agreement by how sure the student was: in fixed bands of confidence, so that they mean the same every day."""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

import msgspec

from monitoring.statistics.weights import WeightedMean

EDGES: Final = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99)
"""Where a band begins. It ends before the next one does; the last holds 1 as well."""
NAMES: Final = tuple(f"{low:g}-{high:g}" for low, high in zip(EDGES, (*EDGES[1:], 1.0), strict=True))
"""Such as `0.9-0.95`: a closed set of words for a label."""


class Bands(msgspec.Struct):
    """A weighted mean for each band. Within a band confidence says little more, so it is no control variate here."""

    means: list[WeightedMean] = msgspec.field(default_factory=lambda: [WeightedMean() for _ in EDGES])

    def add(self, confidence: float, agrees: bool, weight: float) -> None:
        """Count one comparison of weight `weight` in (0, 1]."""
        self.means[max(bisect_right(EDGES, confidence) - 1, 0)].add(agrees, weight)
