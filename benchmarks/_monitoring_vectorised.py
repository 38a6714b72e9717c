"""The product's detectors, levels and confidence sequences for many streams at once. A test holds them equal to it."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from monitoring.statistics.detector import BETS, MOST_BASELINE
from monitoring.statistics.level import MOST_STRATA, PRIOR
from monitoring.statistics.weights import WeightedMean

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.integer[Any]]
Bools = NDArray[np.bool_]

_BETS: Final[Floats] = np.array(BETS)[:, None]
_HUGE: Final = 1e200
_SHARES: Final[Floats] = np.geomspace(1e-4, 0.95, 24)  # of `monitoring.statistics.confidence`


class Levels:
    """`monitoring.statistics.level.Level` of many streams, none of them held."""

    def __init__(self, streams: int) -> None:
        self._bad = np.full((streams, MOST_STRATA + 1), PRIOR)
        self._total = np.full_like(self._bad, 2 * PRIOR)
        self._rows = np.arange(streams)

    def step(self, stratum: Ints, agrees: Bools, weight: Floats, counts: Bools | None = None) -> Floats:
        """The agreement expected in the strata of the next comparisons, shape (streams,); then learn from them.

        `counts`: from which; None: all.
        """
        at = (self._rows, stratum)
        bad, total = self._bad[at], self._total[at]
        learnt = weight if counts is None else weight * counts
        self._bad[at] = bad + learnt * ~agrees
        self._total[at] = total + learnt
        return 1 - bad / total


class Detectors:
    """`monitoring.statistics.detector.Detector`, one for each stream and group; without e-CUSUMs."""

    def __init__(self, streams: int, groups: int = 1) -> None:
        self._sums = np.zeros((len(BETS), streams, groups))
        self._count = np.zeros((streams, groups))
        self._weight = np.zeros((streams, groups))
        self._rows = np.arange(streams)
        self._one = np.zeros(streams, dtype=int)

    def step(
        self, agrees: Bools, weight: Floats, baseline: Floats, group: Ints | None = None, counts: Bools | None = None
    ) -> Floats:
        """Take one comparison of each stream, and return the values of the detectors that took it, shape (streams,).

        `counts`: of which streams; the others stay as they are.
        """
        at = (self._rows, self._one if group is None else group)
        count, weighed, sums = self._count[at], self._weight[at], self._sums[:, *at]
        start = np.where(count > 0, weighed / np.maximum(count, 1), 1.0)
        m = np.minimum(baseline, MOST_BASELINE)
        moved = np.minimum((1 + _BETS * (weight * (m - agrees) / (1 - m))) * (sums + start), _HUGE)
        took = np.ones(len(m), dtype=bool) if counts is None else counts
        self._sums[:, *at] = sums = moved if counts is None else np.where(counts, moved, sums)
        self._count[at] = count + took
        self._weight[at] = weighed + took * weight
        found: Floats = sums.mean(axis=0)
        return found


class Coverage:
    """Whether confidence sequences of many streams have covered a mean all the time so far."""

    def __init__(self, streams: int, weights: Floats, mean: float, alpha: float) -> None:
        """`weights`: the different weights that comparisons have, shape (kinds,)."""
        self._needed = np.log(2 / alpha)
        self._gains = np.stack([_gains(weights, mean, lower=lower) for lower in (True, False)])
        self._wealth = np.zeros((2, streams, self._gains.shape[-1])) - np.log(self._gains.shape[-1])
        self.covered = np.ones(streams, dtype=bool)

    def step(self, kind: Ints, agrees: Bools) -> None:
        """Take one comparison of each stream. `kind`: which of the weights it has."""
        self._wealth += self._gains[:, kind, agrees.astype(int)]
        near = self._wealth.max(axis=2) >= self._needed - np.log(self._wealth.shape[2])  # the sum may reach it
        rows = np.flatnonzero(near.any(axis=0) & self.covered)
        if len(rows):
            self.covered[rows] = (np.logaddexp.reduce(self._wealth[:, rows], axis=2) < self._needed).all(axis=0)


def _gains(weights: Floats, mean: float, *, lower: bool) -> Floats:
    """What a comparison adds to the logarithm of each bet's wealth, were `mean` true; shape (kinds, 2, bets).

    Against a mean that is too small where `lower`, else against one that is too large. The lower limit lies above
    `mean` where wealth exceeds what is needed.
    """
    gains = np.empty((len(weights), 2, len(_SHARES)))
    m = mean if lower else 1 - mean
    for kind, weight in enumerate(weights):
        for agrees in (0, 1):
            one = WeightedMean()
            one.add(agrees if lower else 1 - agrees, float(weight))
            sizes = np.exp2(-np.array(list(one.buckets), dtype=np.float64))
            good, bad = np.array(list(one.buckets.values())).reshape(-1, 2).T
            bets = _SHARES[:, None] * sizes
            gains[kind, agrees] = np.log1p(bets * (1 / m - 1)) @ good + np.log1p(-bets) @ bad
    return gains
