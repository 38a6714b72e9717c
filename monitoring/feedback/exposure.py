"""Which exchanges get feedback, and whether that is every sort of them equally often.

Tested at every look are who answered, how confident the student was, and which class was answered. Looks come each time
there is half as much feedback again, and divide the error as 1/look², so the flag is wrong with the chance `_ERROR` at
most over all looks of a version together. Feedback that is still on its way counts as missing: a mix of exchanges that
changes faster than feedback comes looks uneven as well.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from enum import StrEnum
from typing import Final

import msgspec

from core.records import Answerer
from monitoring.bands import EDGES, NAMES
from monitoring.statistics.missing import same_share

_ERROR: Final = 0.01
_ALL_LOOKS: Final = math.pi**2 / 6  # sum of 1/look²
_FIRST_LOOK: Final = 100
_GROWTH: Final = 1.5


class Dimension(StrEnum):
    """By what exchanges are sorted."""

    ANSWERED_BY = "answered_by"
    CONFIDENCE = "confidence"
    CLASS = "class"

    __hash__ = str.__hash__


DIMENSIONS: Final = tuple(Dimension)


class Unevenness(msgspec.Struct, frozen=True):
    """What the last look found in one dimension."""

    p_value: float
    distance: float
    """Between the mixes with and without feedback, from 0 to 1 (total variation)."""
    uneven: bool


class Exposure(msgspec.Struct):
    """A version's answered exchanges by cell, and those of them with feedback. O(1), bounded by the classes."""

    since: float = 0.0
    """When the first of them was answered: feedback about earlier ones is not in here."""
    last: float = 0.0
    exchanges: dict[Dimension, dict[str, int]] = msgspec.field(
        default_factory=lambda: {dimension: {} for dimension in DIMENSIONS}
    )
    known: dict[Dimension, dict[str, int]] = msgspec.field(
        default_factory=lambda: {dimension: {} for dimension in DIMENSIONS}
    )
    looks: int = 0
    due: float = _FIRST_LOOK
    found: dict[Dimension, Unevenness] = {}

    def answered(self, at: float, by: Answerer, label: str, confidence: float | None) -> None:
        """Count an exchange; `confidence` is the student's, None where none was asked."""
        if not self.since:
            self.since = at
        self.last = max(self.last, at)
        _count(self.exchanges, by, label, confidence)

    def judged(self, at: float, by: Answerer, label: str, confidence: float | None) -> None:
        """Count that there is feedback about an exchange, once."""
        if self.since and at >= self.since:
            _count(self.known, by, label, confidence)

    def share(self, dimension: Dimension, cell: str) -> float | None:
        """Share of a cell's exchanges with feedback; None without exchanges."""
        total = self.exchanges[dimension].get(cell, 0)
        return min(self.known[dimension].get(cell, 0) / total, 1.0) if total else None

    def total(self, by: Answerer) -> int:
        """Exchanges that one answered."""
        return self.exchanges[Dimension.ANSWERED_BY].get(by.value, 0)

    def look(self) -> bool:
        """Look where it is time; whether it was. Takes well under a millisecond."""
        if sum(self.known[Dimension.ANSWERED_BY].values()) < self.due:
            return False
        self.looks += 1
        self.due *= _GROWTH
        error = _ERROR / (_ALL_LOOKS * self.looks**2 * len(DIMENSIONS))
        for dimension in DIMENSIONS:
            found = same_share(self.exchanges[dimension], self.known[dimension])
            self.found[dimension] = Unevenness(found.p_value, found.distance, found.p_value <= error)
        return True


def band_of(confidence: float) -> str:
    """The name of a confidence's band."""
    return NAMES[max(bisect_right(EDGES, confidence) - 1, 0)]


def _count(cells: dict[Dimension, dict[str, int]], by: Answerer, label: str, confidence: float | None) -> None:
    who, classes = cells[Dimension.ANSWERED_BY], cells[Dimension.CLASS]
    who[by.value] = who.get(by.value, 0) + 1
    classes[label] = classes.get(label, 0) + 1
    if confidence is not None:
        bands, band = cells[Dimension.CONFIDENCE], band_of(confidence)
        bands[band] = bands.get(band, 0) + 1
