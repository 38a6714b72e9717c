"""Confidence sequences: intervals for agreement that hold at all times together, so that one may look whenever.

Betting (Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting, arXiv 2010.09686, section 4):
were the mean m, then the wealth of who bets the share lambda on every comparison,

    K(m) = product over i of (1 + lambda w_i (a_i - m)),

would be a non-negative martingale with mean 1, and by Ville's inequality ever reach 1/alpha with probability alpha at
most. The interval is all m at which it has not. Weights w in (0, 1] as in `weights`; for betting with such weights see
Waudby-Smith, Wu, Ramdas, Karampatziakis and Mineiro, arXiv 2210.10768.

The bets are diversified: a mean over fixed shares c of the largest bet allowed, lambda = c/m against a mean that is too
small and c/(1 - m) against one that is too large, each at alpha/2 (their `dKelly` and hedging). Both wealths are
monotone in m, so the interval's ends are found by bisection.

Few numbers hold all comparisons: the logarithm is concave, so for a weight w = r v + (1 - r) v/2 between v/2 and v

    log(1 + lambda w x) >= r log(1 + lambda v x) + (1 - r) log(1 + lambda v/2 x),

and wealth that is counted too low keeps its promise. `WeightedMean` keeps the sums of these parts for v = 1, 1/2, 1/4,
... The variance that a bet sees grows by an eighth at most.

What holds: with probability 1 - alpha the interval covers the agreement at all times at once, where every exchange
agrees with the same probability given the past. Where that probability wanders, each end is a bound on the most
extreme that it has been; the detectors say that it wanders.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from monitoring.statistics.weights import WeightedMean

_SHARES: Final[NDArray[np.float64]] = np.geomspace(1e-4, 0.95, 24)
"""Shares c of the largest bet. Neighbours differ by a factor of 1.5, which costs next to nothing."""
_STEPS: Final = 30  # of a bisection: to 1e-9


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its limits, all between 0 and 1."""

    estimate: float
    lower: float
    upper: float


def confidence_sequence(mean: WeightedMean, alpha: float) -> Interval | None:
    """The interval of a mean, which covers the true one at all times with probability 1 - `alpha`.

    None without comparisons.
    """
    if mean.estimate is None:
        return None
    return Interval(mean.estimate, lower_limit(mean, alpha / 2), upper_limit(mean, alpha / 2))


def lower_limit(mean: WeightedMean, alpha: float) -> float:
    """The lower end alone: below the true mean at all times with probability 1 - `alpha`. 0 without comparisons."""
    sizes, good, bad = _buckets(mean)
    return _limit(sizes, good, bad, mean.estimate or 0.0, np.log(1 / alpha))


def upper_limit(mean: WeightedMean, alpha: float) -> float:
    """The upper end alone: `lower_limit` of the disagreement. 1 without comparisons."""
    sizes, good, bad = _buckets(mean)
    disagreement = 0.0 if mean.estimate is None else 1 - mean.estimate
    return 1 - _limit(sizes, bad, good, disagreement, np.log(1 / alpha))


def _buckets(mean: WeightedMean) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The weights v, and the sums of parts of what agreed and of what did not, each of shape (buckets,)."""
    sizes = np.exp2(-np.fromiter(mean.buckets, dtype=np.float64, count=len(mean.buckets)))
    counts = np.array(list(mean.buckets.values()), dtype=np.float64).reshape(-1, 2)
    return sizes, counts[:, 0], counts[:, 1]


def _limit(
    sizes: NDArray[np.float64], good: NDArray[np.float64], bad: NDArray[np.float64], estimate: float, needed: float
) -> float:
    """The largest m up to `estimate` at which betting that the mean is larger has earned `needed` (a logarithm)."""
    bets = _SHARES[:, None] * sizes
    lost = np.log1p(-bets) @ bad - np.log(len(_SHARES))
    low, high = 0.0, max(estimate, 0.0)
    for _ in range(_STEPS):
        m = (low + high) / 2
        if m <= 0:
            break
        wealth = np.log1p(bets * (1 / m - 1)) @ good + lost
        if np.logaddexp.reduce(wealth) >= needed:
            low = m
        else:
            high = m
    return low
