"""What k successes of n trials say of a proportion, exactly: no table, no normal approximation."""

from __future__ import annotations

import math
from typing import Final

_STEPS: Final = 50  # of a bisection


def binomial_cdf(successes: int, trials: int, probability: float) -> float:
    """P(X <= `successes`) of X binomial over `trials` at `probability`, which is strictly between 0 and 1."""
    if successes < 0:
        return 0.0
    if successes >= trials:
        return 1.0
    log_odds, log_none = math.log(probability) - math.log1p(-probability), trials * math.log1p(-probability)
    logs = [log_none + log_choose(trials, k) + k * log_odds for k in range(successes + 1)]
    highest = max(logs)
    return min(1.0, math.exp(highest) * math.fsum(math.exp(value - highest) for value in logs))


def lower_bound(successes: int, trials: int, error: float) -> float:
    """The one-sided lower confidence bound of a proportion, which misses it with probability `error` at most.

    Clopper and Pearson (Biometrika 26, 1934): the p with P(X >= `successes`) = `error`. 0 without successes.
    """
    low, high = 0.0, successes / trials if trials else 0.0
    for _ in range(_STEPS if high else 0):
        half = (low + high) / 2
        # P(X >= k) at p is P(n - X <= n - k) at 1 - p.
        low, high = (half, high) if binomial_cdf(trials - successes, trials, 1 - half) <= error else (low, half)
    return low


def evidence_above(successes: int, trials: int, limit: float) -> float:
    """An e-value against "the probability of a success is `limit` or less", given the past; 0 < `limit` < 1.

    Likelihood ratios against `limit`, mixed evenly over all larger probabilities q (Robbins, Ann. Math. Statist. 41,
    1970):

        E = 1/(1 - s) times the integral from s to 1 of (q/s)^k ((1-q)/(1-s))^(n-k) dq,   s = `limit`

    As trials come in it is a supermartingale that begins at 1 where the hypothesis is true, so it ever reaches 1/alpha
    with probability alpha at most (Ville 1939): one may look after each trial, and stop. The integral is a beta
    function times a binomial probability. Infinite where a float cannot hold it.
    """
    tail = binomial_cdf(successes, trials + 1, limit)
    if tail == 0.0:
        return 0.0
    failures = trials - successes
    log_ratio = -successes * math.log(limit) - (failures + 1) * math.log1p(-limit)
    log_value = math.log(tail) - math.log(trials + 1) - log_choose(trials, successes) + log_ratio
    return math.exp(log_value) if log_value < 700 else math.inf


def log_choose(trials: int, successes: int) -> float:
    """The logarithm of the binomial coefficient."""
    return math.lgamma(trials + 1) - math.lgamma(successes + 1) - math.lgamma(trials - successes + 1)
