"""Statistics of two students on the same texts. Pure functions.

Of n texts, `gains` counts those on which only the candidate agrees with the teacher, `losses` those on which only the
champion does. Where both agree, or neither, nothing is learnt about their difference, which is (gains - losses) / n.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_NORMAL: Final = NormalDist()
_STEPS: Final = 60  # of a bisection: the answer to 1e-18


def midp_worse(gains: int, losses: int) -> float:
    """One-sided mid-p value of McNemar's test against "the candidate is not worse".

    `P(X > losses) + P(X = losses) / 2` with X binomial over gains + losses trials at 1/2 (Fagerland, Lydersen and
    Laake, BMC Medical Research Methodology 13:91, 2013). Without a discordant text it is 1/2.
    """
    trials = gains + losses
    logs = [_log_choose(trials, k) - trials * math.log(2) for k in range(losses, trials + 1)]
    return min(1.0, sum(math.exp(value) for value in logs[1:]) + math.exp(logs[0]) / 2)


def score_statistic(gains: int, losses: int, texts: int, difference: float) -> float:
    """Tango's score statistic of "the difference is `difference`", about standard normal where that is true.

    Tango (Statistics in Medicine 17, 1998, p. 891, eq. 13-18): the variance is taken at the hypothesis, so it is not
    zero where the two students never disagree, and at zero the statistic is McNemar's. -1 < `difference` < 1.
    """
    a = 2 * texts
    b = -gains - losses + (2 * texts - gains + losses) * difference
    c = -losses * difference * (1 - difference)
    # The likeliest probability of a loss, given the difference. Rounding may leave a tiny negative root.
    loss = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    variance = texts * max(2 * loss + difference * (1 - difference), 0.0)
    distance = gains - losses - texts * difference
    if variance <= 0:
        return math.copysign(math.inf, distance) if distance else 0.0
    return distance / math.sqrt(variance)


def difference_interval(gains: int, losses: int, texts: int, error: float) -> tuple[float, float]:
    """Interval of the difference that misses it with probability of about `error`, half on each side.

    The differences that `score_statistic` does not reject (Tango 1998). (-1, 1) without texts.
    """
    if not texts:
        return -1.0, 1.0
    z = _NORMAL.inv_cdf(1 - error / 2)
    middle = (gains - losses) / texts
    low, inside = -1.0, middle
    for _ in range(_STEPS):
        half = (low + inside) / 2
        low, inside = (low, half) if score_statistic(gains, losses, texts, half) <= z else (half, inside)
    high, outside = middle, 1.0
    for _ in range(_STEPS):
        half = (high + outside) / 2
        high, outside = (half, outside) if score_statistic(gains, losses, texts, half) >= -z else (high, half)
    return inside, high


def not_inferior_p(gains: int, losses: int, texts: int, margin: float) -> float:
    """One-sided p-value against "the candidate is worse by `margin` or more" (Tango 1998). 1 without texts."""
    if not texts:
        return 1.0
    return 1 - _NORMAL.cdf(score_statistic(gains, losses, texts, -margin))


def smallest_visible_drop(texts: int, discordance: float, error: float, power: float = 0.8) -> float | None:
    """The smallest true drop that a one-sided paired test on so many texts shows with probability `power`.

    `discordance` is the share of texts on which candidate and champion change places both ways without any drop.
    Connor (Biometrics 43, 1987, p. 207): a drop d with psi = discordance + d discordant texts needs
    `n = (z_error sqrt(psi) + z_power sqrt(psi - d²))² / d²`. None: not even a drop of everything shows.
    """
    if not texts or 0.5 ** (texts + 1) > error:
        return None
    z_error, z_power = _NORMAL.inv_cdf(1 - error), _NORMAL.inv_cdf(power)

    def needed(drop: float) -> float:
        psi = min(discordance + drop, 1.0)
        return (z_error * math.sqrt(psi) + z_power * math.sqrt(max(psi - drop * drop, 0.0))) ** 2 / (drop * drop)

    if needed(1.0) > texts:
        return None
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        half = (low + high) / 2
        low, high = (low, half) if half and needed(half) <= texts else (half, high)
    return high


def mean_interval(values: NDArray[Any], error: float) -> tuple[float, float, float]:
    """Mean of paired differences, shape (n,), with the ends of its normal interval. Infinite ends for n < 2."""
    if len(values) < 2:
        return (float(values.mean()) if len(values) else 0.0), -math.inf, math.inf
    mean = float(values.mean())
    reach = _NORMAL.inv_cdf(1 - error / 2) * float(values.std(ddof=1)) / math.sqrt(len(values))
    return mean, mean - reach, mean + reach


def brier_scores(probabilities: NDArray[np.float32], answers: NDArray[np.int64]) -> NDArray[np.float64]:
    """Brier score of each text, shape (n,), between 0 and 2: `sum over labels of (p - [label is the answer])²`.

    Brier (Monthly Weather Review 78, 1950), of `probabilities` with shape (n, k) and `answers` with shape (n,).
    """
    p = probabilities.astype(np.float64)
    of_answer = p[np.arange(len(answers)), answers]
    return np.asarray((p**2).sum(axis=1) - 2 * of_answer + 1.0)


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
