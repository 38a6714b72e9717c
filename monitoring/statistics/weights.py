"""Weights of comparisons that were sampled with different probabilities, and the weighted mean of their agreement.

Horvitz and Thompson (JASA 47, 1952) weigh what was drawn with probability p by 1/p; Hájek divides by the sum of the
weights. Given that an exchange was drawn, `E[(a - m) / p]` has the sign of `mu - m`, where mu is the agreement a of all
exchanges: so whatever is built below on weighted differences speaks of all exchanges, not of those that were drawn.
Any factor f that is fixed before the comparison leaves that sign alone, and `f / p <= 1` bounds the differences.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec

_BLOCK: Final = 256  # comparisons


class Scale(msgspec.Struct):
    """The factor f of the weights: the smallest inclusion probability of the last 256 to 512 comparisons.

    It follows a budget that lowers all probabilities, so that comparisons do not weigh less for that. It is fixed
    before each comparison; where that one was sampled with a smaller probability still, its weight is cut to 1, which
    is counted, and f follows.
    """

    before: float
    """Smallest probability of the last full block; at first what the settings announce."""
    block: float = 1.0
    """Smallest of the block that is being filled."""
    filled: int = 0
    cut: int = 0
    """Weights that were cut to 1."""

    @property
    def factor(self) -> float:
        """f, for the next comparison."""
        return min(self.before, self.block)

    def weigh(self, probability: float) -> float:
        """The weight of a comparison that was sampled with `probability` > 0, in (0, 1]."""
        weight = self.factor / probability
        self.cut += weight > 1
        self.block = min(self.block, probability)
        self.filled += 1
        if self.filled >= _BLOCK:
            self.before, self.block, self.filled = self.block, 1.0, 0
        return min(weight, 1.0)


class WeightedMean(msgspec.Struct):
    """Agreement of weighted comparisons: all that its estimate and its confidence sequence need, in a few numbers.

    `buckets[k]` holds agreements and disagreements of weight 2^-k. A weight between two of these counts in both, in the
    parts that leave its mean as it is; `monitoring.statistics.confidence` says why it may.
    """

    count: int = 0
    """Comparisons."""
    weight: float = 0.0
    """Sum of weights w."""
    agreed: float = 0.0
    """Sum of w over those that agree."""
    squares: float = 0.0
    """Sum of w²."""
    buckets: dict[int, tuple[float, float]] = {}

    def add(self, agrees: float, weight: float) -> None:
        """Count one comparison; O(1). `weight` is in (0, 1], `agrees` 0 or 1, or between where it is only guessed."""
        self.count += 1
        self.weight += weight
        self.squares += weight * weight
        self.agreed += weight * agrees
        bucket = bucket_of(weight)
        part = 2 * math.ldexp(weight, bucket) - 1
        self._put(bucket, agrees, part)
        if part < 1:
            self._put(bucket + 1, agrees, 1 - part)

    def _put(self, bucket: int, agrees: float, part: float) -> None:
        good, bad = self.buckets.get(bucket, (0.0, 0.0))
        self.buckets[bucket] = (good + part * agrees, bad + part * (1 - agrees))

    @property
    def estimate(self) -> float | None:
        """Hájek's estimate; None without comparisons."""
        return self.agreed / self.weight if self.weight > 0 else None

    @property
    def effective(self) -> float:
        """How many equally weighted comparisons would be as good: (sum w)² / sum w² (Kish, Survey Sampling, 1965)."""
        return self.weight * self.weight / self.squares if self.squares > 0 else 0.0


def bucket_of(weight: float) -> int:
    """The k with 2^-(k+1) < `weight` <= 2^-k."""
    mantissa, exponent = math.frexp(weight)
    return 1 - exponent if mantissa == 0.5 else -exponent


def less(whole: WeightedMean, part: WeightedMean) -> tuple[float, float]:
    """Effective comparisons and agreement of `whole` without `part`, which is in it. (0, 0) where nothing is left."""
    weight, squares = whole.weight - part.weight, whole.squares - part.squares
    if whole.count <= part.count or weight <= 0 or squares <= 0:
        return 0.0, 0.0
    agreement = (whole.agreed - part.agreed) / weight
    return weight * weight / squares, min(max(agreement, 0.0), 1.0)
