"""How well confidence tells agreement: descriptive.

ECE has no sampling theory, and is positive however well a student is calibrated (about .04 with 300 comparisons), so
none of this raises an alarm; `overconfidence` does. Beside each ECE stands the one that a perfectly calibrated student
would show with as many comparisons of the same confidence: what is not above that is noise.

One histogram holds all: cells of .01 below a confidence of .9, and above, where most answers of a good student are,
eight cells in each halving of 1 - confidence. Ten bins of equal width are sums of them exactly; bins of equal mass as
near as a cell is narrow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from monitoring.statistics.binomial import log_choose

BINS: Final = 10
_LOW: Final = 90  # cells below a confidence of .9
_HALVINGS: Final = 10
_STEPS: Final = 8  # cells in each
CELLS: Final = _LOW + _HALVINGS * _STEPS + 1
_LEAST: Final = 2.0**-24
"""The smallest float16: a probability that was stored as 0 counts as this."""
_RARELY: Final = 1.645  # standard deviations that a normal variable is above its mean once in twenty times


@dataclass(frozen=True, slots=True)
class Bin:
    """One bar of the reliability diagram."""

    comparisons: int
    confidence: float
    """Mean of the bin; `agreement` the same."""
    agreement: float
    weight: float
    """Sum of weights."""
    effective: float
    """How many equally weighted comparisons would be as good (Kish)."""


@dataclass(frozen=True, slots=True)
class Noise:
    """The ECE of a perfectly calibrated student with as many comparisons of the same confidence."""

    mean: float
    upper: float
    """What it passes once in twenty times."""


class Calibration(msgspec.Struct):
    """Weighted sums over comparisons, by cells of the student's confidence. O(1) for each."""

    counts: list[int] = msgspec.field(default_factory=lambda: [0] * CELLS)
    weights: list[float] = msgspec.field(default_factory=lambda: [0.0] * CELLS)
    weight_squares: list[float] = msgspec.field(default_factory=lambda: [0.0] * CELLS)
    confidences: list[float] = msgspec.field(default_factory=lambda: [0.0] * CELLS)
    agreed: list[float] = msgspec.field(default_factory=lambda: [0.0] * CELLS)
    squares: float = 0.0
    log_weight: float = 0.0
    logs: float = 0.0

    def add(self, agrees: bool, confidence: float, weight: float, of_teacher: float | None = None) -> None:
        """Take one comparison. `of_teacher`: the probability that the student gave the teacher's label, where known."""
        i = cell_of(confidence)
        self.counts[i] += 1
        self.weights[i] += weight
        self.weight_squares[i] += weight * weight
        self.confidences[i] += weight * confidence
        self.agreed[i] += weight * agrees
        self.squares += weight * (confidence - agrees) ** 2
        if of_teacher is not None:
            self.log_weight += weight
            self.logs -= weight * math.log(max(of_teacher, _LEAST))

    @property
    def count(self) -> int:
        """Comparisons."""
        return sum(self.counts)

    @property
    def ece(self) -> float | None:
        """Expected calibration error (Naeini, Cooper and Hauskrecht, AAAI 2015): mean of |agreement - confidence|."""
        return ece_of(self.reliability())

    @property
    def brier(self) -> float | None:
        """Mean of (confidence - [agrees])², between 0 and 1 (Brier, Monthly Weather Review 78, 1950; two outcomes)."""
        total = sum(self.weights)
        return self.squares / total if total else None

    @property
    def nll(self) -> float | None:
        """Mean of -log of the probability that the student gave the teacher's label, in nats; None where not known."""
        return self.logs / self.log_weight if self.log_weight else None

    @property
    def agreement(self) -> float | None:
        """Weighted agreement; None without comparisons."""
        total = sum(self.weights)
        return sum(self.agreed) / total if total else None

    @property
    def confidence(self) -> float | None:
        """Weighted mean of the confidence; what it has above `agreement` is overconfidence."""
        total = sum(self.weights)
        return sum(self.confidences) / total if total else None

    def reliability(self) -> list[Bin | None]:
        """The ten bars of the reliability diagram, of equal width; None for a bin without comparisons."""
        return self._bins([min(i // BINS, BINS - 1) for i in range(CELLS)])

    def equal_mass(self) -> list[Bin | None]:
        """Ten bars that hold about as much weight each (Nguyen and O'Connor, EMNLP 2015), from low to high.

        Fewer where much of the weight lies in one cell.
        """
        total, before, bins = sum(self.weights), 0.0, []
        for weight in self.weights:
            middle = (before + weight / 2) / total if total else 0.0
            bins.append(min(int(middle * BINS), BINS - 1))
            before += weight
        return self._bins(bins)

    def _bins(self, of_cell: Sequence[int]) -> list[Bin | None]:
        """Sum the cells up; `of_cell`: the bin of each."""
        counts, sums = [0] * BINS, [[0.0] * BINS for _ in range(4)]
        parts = zip(self.weights, self.weight_squares, self.confidences, self.agreed, strict=True)
        for i, (count, values) in enumerate(zip(self.counts, parts, strict=True)):
            if count:
                counts[of_cell[i]] += count
                for row, value in zip(sums, values, strict=True):
                    row[of_cell[i]] += value
        return [Bin(n, c / w, a / w, w, w * w / q) if w else None for n, w, q, c, a in zip(counts, *sums, strict=True)]


def cell_of(confidence: float) -> int:
    """The cell of a confidence, from 0 to `CELLS` - 1; they rise with it."""
    if confidence < 0.9:
        return min(max(int(confidence * 10 * BINS), 0), _LOW - 1)
    mantissa, exponent = math.frexp((1 - confidence) * BINS)  # between 1 at .9 and 0 at 1
    if mantissa <= 0 or exponent <= -_HALVINGS:
        return CELLS - 1
    if exponent > 0:
        return _LOW
    return _LOW - exponent * _STEPS + _STEPS - 1 - int((2 * mantissa - 1) * _STEPS)


def ece_of(bins: Sequence[Bin | None]) -> float | None:
    """The expected calibration error over some bins; None without comparisons."""
    full = [one for one in bins if one is not None]
    total = sum(one.weight for one in full)
    return sum(one.weight * abs(one.agreement - one.confidence) for one in full) / total if total else None


def noise_of(bins: Sequence[Bin | None]) -> Noise | None:
    """What `ece_of` would be over the same bins by chance, were the student perfectly calibrated.

    The agreements of a bin are then about binomial, with its mean confidence p, over its effective number n of
    comparisons, and their share is off by

        E|X/n - p| = 2 (1 - p) k/n C(n, k) p^k (1 - p)^(n - k),   k = floor(n p) + 1

    in the mean (De Moivre 1730; Diaconis and Zabell, Statistical Science 6, 1991). Bins are independent, so the sum is
    taken for normal to say what it passes rarely. That bins mix several confidences makes both too high by a few
    hundredths of themselves. None without comparisons.
    """
    full = [one for one in bins if one is not None]
    total = sum(one.weight for one in full)
    if not total:
        return None
    mean = variance = 0.0
    for one in full:
        share, size = one.weight / total, max(round(one.effective), 1)
        p = min(max(one.confidence, 0.0), 1.0)
        deviation = _mean_deviation(size, p)
        mean += share * deviation
        variance += share * share * max(p * (1 - p) / size - deviation * deviation, 0.0)
    return Noise(mean, mean + _RARELY * math.sqrt(variance))


def _mean_deviation(size: int, p: float) -> float:
    """E|X/n - p| of X binomial over n = `size` trials."""
    if not 0 < p < 1:
        return 0.0
    k = int(size * p) + 1
    if k > size:  # n p is n but for rounding
        return 0.0
    log_term = log_choose(size, k) + k * math.log(p) + (size - k + 1) * math.log1p(-p)
    return 2 * k / size * math.exp(log_term)
