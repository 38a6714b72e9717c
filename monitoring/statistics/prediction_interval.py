"""A confidence sequence for `PredictedMean`: by betting, as in `monitoring.statistics.confidence`.

Were the mean m, and lambda a bet in [0, 1), then with X, f, w and p of `monitoring.statistics.prediction`

    K(m) = product over exchanges of (1 + lambda f (X - m))        is a non-negative martingale,

since f (X - m) >= -1 for m in [0, 1]. So is the one that bets on what was drawn alone, with any c in [0, 1),

    K'(m) = product over exchanges of (1 + c/m w xi (a - m)),

and so is every mean of them: three quarters of the wealth are bet in the first way and one in the second, in equal
parts on fixed bets. Where the confidence is useless, the second part earns what an interval without it would have, less
log 4 of evidence; where it is of use, sharing costs the first log 4/3. The same is done against a mean that is too
large, with a, g and m mirrored, each at alpha/2. Both wealths are monotone in m; and a weight that is counted between
two others earns too little, if anything (the logarithm is concave).

What holds exactly: with probability 1 - alpha the interval covers the agreement at all times at once, where every
exchange agrees with the same probability given the past, p is what it is said to be, and nothing is missing. It does
not matter how well confidence is calibrated. Where agreement wanders, see `monitoring.statistics.confidence`.

Under an assumption: what is missing is taken to agree as often as what is not, so it is left out with its share of the
undrawn. `worst_case` assumes nothing: missing ones disagree, all of them, for the lower end, and agree for the upper.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from monitoring.statistics.confidence import Interval
from monitoring.statistics.prediction import LEVELS, Part, PredictedMean, unpack

Floats = NDArray[np.float64]

_BETS: Final[Floats] = np.geomspace(0.005, 0.95, 16)
_BETS_ON_DRAWN: Final[Floats] = np.geomspace(1e-3, 0.95, 20)
_LOG_PART: Final = float(np.log(0.75 / len(_BETS)))
_LOG_PART_ON_DRAWN: Final = float(np.log(0.25 / len(_BETS_ON_DRAWN)))
_STEPS: Final = 20  # of a bisection: to 1e-6
_LEVELS: Final = np.array(LEVELS)


def predicted_sequence(mean: PredictedMean, alpha: float) -> Interval | None:
    """The estimate with limits that cover agreement at all times with probability 1 - `alpha`.

    None without comparisons.
    """
    estimate = mean.estimate
    if estimate is None:
        return None
    lower, upper = _limits(mean, alpha, worst=False)
    return Interval(min(max(estimate, lower), upper), lower, upper)


def worst_case(mean: PredictedMean, alpha: float) -> Interval | None:
    """The same, with limits that hold whatever the teacher would have said of what is missing."""
    interval = predicted_sequence(mean, alpha)
    if interval is None or not mean.missing:
        return interval
    lower, upper = _limits(mean, alpha, worst=True)
    return Interval(interval.estimate, min(lower, interval.lower), max(upper, interval.upper))


def log_wealth(mean: PredictedMean, m: float, *, above: bool) -> float:
    """Logarithm of what was won by betting that agreement is above (or below) `m`, which is strictly between 0 and 1.

    It ever reaches log(1/alpha) with probability alpha at most, where `m` is the agreement.
    """
    return _Bets(mean, mirrored=not above, worst=False).log_wealth(m if above else 1 - m)


def _limits(mean: PredictedMean, alpha: float, *, worst: bool) -> tuple[float, float]:
    needed = float(np.log(2 / alpha))
    lower = _Bets(mean, mirrored=False, worst=worst).limit(needed)
    upper = 1 - _Bets(mean, mirrored=True, worst=worst).limit(needed)
    return lower, max(lower, upper)


class _Bets:
    """Bets that a mean is larger than some m; `mirrored`: the mean of 1 - a."""

    def __init__(self, mean: PredictedMean, *, mirrored: bool, worst: bool) -> None:
        """`worst`: what is missing counts as not agreed (mirrored: as agreed), and nothing is set aside."""
        cells = [(unpack(number), count) for number, count in mean.cells.items()]
        if not worst:
            cells = [(cell, n) for cell, n in cells if cell.part not in (Part.MISSING, Part.SET_ASIDE)]
        good = Part.DISAGREED if mirrored else Part.AGREED
        self._counts: Floats = np.array([count for _, count in cells], dtype=np.float64)
        self._factors: Floats = np.exp2([-cell.scale / 2 for cell, _ in cells])
        g = _LEVELS[np.array([cell.level for cell, _ in cells], dtype=np.intp)]
        g = 1 - g if mirrored else g
        drawn = np.array([cell.part not in (Part.UNDRAWN, Part.SET_ASIDE) for cell, _ in cells], dtype=bool)
        w = np.exp2([-cell.step / 2 for cell, _ in cells])
        a = np.array([float(cell.part is good) for cell, _ in cells], dtype=np.float64)
        self._sums: Floats = self._factors * g + drawn * w * (a - g)
        """f X."""
        self._agreed = _sums_by_weight(w[drawn & (a == 1)], self._counts[drawn & (a == 1)])
        weights, counts = _sums_by_weight(w[drawn & (a == 0)], self._counts[drawn & (a == 0)])
        self._lost = np.log1p(-_BETS_ON_DRAWN[:, None] * weights) @ counts

    def log_wealth(self, m: float) -> float:
        payoffs = _BETS[:, None] * (self._sums - self._factors * m)
        predicted = np.log1p(payoffs) @ self._counts + _LOG_PART
        weights, counts = self._agreed
        gains = _BETS_ON_DRAWN[:, None] * weights * (1 / m - 1)
        plain = np.log1p(gains) @ counts + self._lost + _LOG_PART_ON_DRAWN
        return float(np.logaddexp.reduce(np.concatenate((predicted, plain))))

    def limit(self, needed: float) -> float:
        """The largest m at which `needed` was won."""
        low, high = 0.0, 1.0
        for _ in range(_STEPS):
            m = (low + high) / 2
            low, high = (m, high) if self.log_wealth(m) >= needed else (low, m)
        return low


def _sums_by_weight(weights: Floats, counts: Floats) -> tuple[Floats, Floats]:
    """The different weights, and the sum of the counts of each."""
    found, where = np.unique(weights, return_inverse=True)
    return found, np.bincount(where, counts, minlength=len(found)).astype(np.float64)
