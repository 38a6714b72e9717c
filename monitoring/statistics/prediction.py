"""Agreement of all exchanges that a student answered, with its confidence as control variate.

Of a sampled exchange agreement a is known, of every one a prediction g of it, made from the student's confidence. With
the inclusion probability p, and xi = 1 where the exchange was drawn,

    X = g + xi/p (a - g),    E[X | confidence, p] = E[a | confidence, p],

whatever g is, as long as it is fixed before the draw (Angelopoulos, Bates, Fannjiang, Jordan and Zrnic,
Prediction-powered inference, arXiv 2301.09633; the difference estimator of survey sampling). The better g, the smaller
the variance `Var(a) + E[(1/p - 1)(a - g)^2]`; it is smallest at g = E[a | confidence], which `Predictor` learns. With a
confidence that tells nothing this g becomes a constant, and the estimate as good as one without it (what PPI++, arXiv
2311.01453, reaches by tuning).

Below, everything is multiplied by a factor f <= p that is fixed before the exchange: with w = f/p in (0, 1]

    f (X - m) = f (g - m) + xi w (a - g).

`monitoring.statistics.prediction_interval` bets on these. g is rounded to one of 16 levels, f to a power of the root
of two; w lies between two such powers and counts in both. So an exchange falls into one of a few hundred cells, and how
many fell into each is all that there is to know.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator
from enum import IntEnum
from itertools import pairwise
from typing import Final, NamedTuple

import msgspec

LEVELS: Final = (0.02, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.78, 0.85, 0.9, 0.935, 0.96, 0.98, 0.99, 0.998)
"""What a prediction is rounded to: finer where most confidences are."""
_MIDDLES: Final = tuple((a + b) / 2 for a, b in pairwise(LEVELS))
_EDGES: Final = (0.2, 0.35, 0.5, 0.6, 0.7, 0.77, 0.84, 0.89, 0.93, 0.96, 0.975, 0.985, 0.993, 0.997, 0.999)
BINS: Final = len(_EDGES) + 1
"""Of confidences, in each of which a prediction is learnt."""
_CENTRES: Final = tuple((a + b) / 2 for a, b in zip((0.0, *_EDGES), (*_EDGES, 1.0), strict=True))
_PRIOR: Final = 10.0  # comparisons as which the confidence itself counts
_MEMORY: Final = 2000.0  # comparisons of a bin; then old ones count less

_STEPS: Final = 64
_KINDS: Final = 5


class Part(IntEnum):
    """What an exchange was for the estimate."""

    UNDRAWN = 0
    AGREED = 1
    DISAGREED = 2
    MISSING = 3
    """Drawn, and nobody will know: the teacher refused, timed out, was not understood."""
    SET_ASIDE = 4
    """Not drawn; left out in the proportion in which the drawn ones beside it are missing."""


class Cell(NamedTuple):
    """Exchanges that are the same for the estimate: f = 2^-(`scale`/2), g = LEVELS[`level`], w = 2^-(`step`/2)."""

    part: Part
    scale: int
    level: int
    step: int


def pack(part: Part, scale: int, level: int, step: int = 0) -> int:
    """The number under which a cell is counted. `step` 0 for what was not drawn."""
    return ((scale * len(LEVELS) + level) * _STEPS + step) * _KINDS + part


def unpack(number: int) -> Cell:
    """Undo `pack`."""
    number, part = divmod(number, _KINDS)
    number, step = divmod(number, _STEPS)
    scale, level = divmod(number, len(LEVELS))
    return Cell(Part(part), scale, level, step)


def root_power(step: int) -> float:
    """2^-(`step`/2)."""
    return math.exp2(-step / 2)


def scale_of(probability: float) -> int:
    """The scale of the largest factor f <= `probability`, which is in (0, 1]."""
    scale = max(math.floor(-2 * math.log2(probability)), 0)
    return scale if root_power(scale) <= probability else scale + 1


def steps_of(weight: float) -> Iterator[tuple[int, float]]:
    """The one or two steps s between whose 2^-(s/2) a weight in (0, 1] lies, with parts that sum to 1."""
    step = min(int(-2 * math.log2(weight)), _STEPS - 2)
    above, below = root_power(step), root_power(step + 1)
    part = min(max((weight - below) / (above - below), 0.0), 1.0)
    if part > 0:
        yield step, part
    if part < 1:
        yield step + 1, 1 - part


def level_of(prediction: float) -> int:
    """The nearest level."""
    return bisect_right(_MIDDLES, prediction)


def bin_of(confidence: float) -> int:
    """The bin of a confidence."""
    return bisect_right(_EDGES, confidence)


class PredictedMean(msgspec.Struct):
    """Sums over cells, in which the estimate and its interval are contained. Bounded by the number of cells."""

    cells: dict[int, float] = {}
    compared: int = 0
    """Exchanges of which agreement is known; `missing`: that were drawn, and of which it will not be."""
    missing: int = 0
    weight: float = 0.0
    """Sum of w over the compared ones."""

    def add(self, number: int, count: float = 1.0) -> None:
        """Count exchanges of one cell."""
        self.cells[number] = self.cells.get(number, 0.0) + count

    def merge(self, other: PredictedMean) -> None:
        """Count what another one has counted."""
        for number, count in other.cells.items():
            self.add(number, count)
        self.compared += other.compared
        self.missing += other.missing
        self.weight += other.weight

    @property
    def estimate(self) -> float | None:
        """Mean of X with weights f, between 0 and 1; None without comparisons."""
        if not self.compared:
            return None
        total = weights = 0.0
        for number, count in self.cells.items():
            part, scale, level, step = unpack(number)
            if part in (Part.MISSING, Part.SET_ASIDE):
                continue
            factor, g = root_power(scale), LEVELS[level]
            weights += count * factor
            total += count * factor * g
            if part is not Part.UNDRAWN:
                total += count * root_power(step) * ((part is Part.AGREED) - g)
        return min(max(total / weights, 0.0), 1.0)


class Predictor(msgspec.Struct):
    """Learns how often the student agrees at a confidence, in 16 bins, shrunk towards the confidence itself.

    Given the confidence, agreement does not depend on the draw: so comparisons count alike here.
    """

    counts: list[float] = msgspec.field(default_factory=lambda: [0.0] * BINS)
    agreed: list[float] = msgspec.field(default_factory=lambda: [0.0] * BINS)

    def learn(self, position: int, agreed: int, disagreed: int) -> None:
        """Take comparisons whose confidence is in the bin `position`."""
        self.counts[position] += agreed + disagreed
        self.agreed[position] += agreed
        if self.counts[position] >= _MEMORY:
            self.counts[position] /= 2
            self.agreed[position] /= 2

    def levels(self) -> list[int]:
        """The level of the prediction for each bin."""
        rows = zip(self.agreed, self.counts, _CENTRES, strict=True)
        return [level_of((agreed + _PRIOR * centre) / (count + _PRIOR)) for agreed, count, centre in rows]
