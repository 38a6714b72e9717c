"""Whether answers to the same questions have changed, although whoever gives them is not always of one mind.

Each example x was answered in many rounds. Round 0 gives its first answer; d(r, x) says whether round r differs from
it. If nothing changes, the answers of the later rounds to x are exchangeable given the first one, however noisy the
teacher is on x: no noise rate is assumed, and none estimated. So given how often x differs at all, m of n rounds, the
rounds in which it does are a random choice, and

    S = differences within the last w rounds = sum over x of H(n, m, w), hypergeometric and independent over x.

The p-value is P(S >= what was seen): the test of Cochran (Biometrics 10, 1954) and of Mantel and Haenszel (JNCI 22,
1959) with a stratum for each example, exact and one-sided. With two later rounds, w = 1, it is McNemar's exact test
(Psychometrika 12, 1947). An answer that is missing takes its round from that example alone; whether it is missing must
not depend on what it would have been.

The test is repeated with every round, for windows of 1, 2, 4 and 8 rounds. Of the error that may be made over all time,
look k = 1, 2, ... gets the part 6 / (pi k)², in even parts for the windows (Bonferroni; the looks need not be
independent).
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from monitoring.statistics.binomial import log_choose

WINDOWS: Final = (1, 2, 4, 8)
"""Rounds that are held against all those before them."""

Differences = NDArray[np.float64]
"""Shape (rounds, examples): 1 where a later round's answer differs from the first, 0 where not, NaN where missing."""


@dataclass(frozen=True, slots=True)
class Shift:
    """The last `window` rounds against the ones before."""

    window: int
    before: float
    """Share of answers that differ from the first ones, before; `lately`: in the window."""
    lately: float
    p_value: float
    allowed: float
    """The p-value at which it is called a change."""

    def is_change(self, margin: float) -> bool:
        """Whether that is a change, by at least `margin` of the answers."""
        return self.p_value <= self.allowed and self.lately - self.before >= margin


def latest_shift(differs: Differences, look: int, alpha: float) -> Shift | None:
    """The shift with the least p-value against what it is allowed; None with fewer than two later rounds.

    `look` counts the rounds at which this was asked, from 1. All looks together call no change a change with
    probability `alpha` at most.
    """
    allowed = alpha * 6 / (math.pi * look) ** 2 / len(WINDOWS)
    shifts = [_shift(differs, window, allowed) for window in WINDOWS if 2 * window <= len(differs)]
    return min((shift for shift in shifts if shift is not None), key=lambda shift: shift.p_value, default=None)


def shift_p(differs: Differences, window: int) -> float:
    """P(as many differences or more within the last `window` rounds), if nothing has changed. 1 without answers."""
    answered = ~np.isnan(differs)
    rounds, differing = answered.sum(axis=0), np.nansum(differs, axis=0).astype(int)
    inside = answered[-window:].sum(axis=0)
    seen = int(np.nansum(differs[-window:]))
    strata = Counter(zip(rounds.tolist(), differing.tolist(), inside.tolist(), strict=True))
    chances = np.ones(1)
    certain = 0
    for (n, m, w), examples in strata.items():
        low = max(0, w - (n - m))
        certain += examples * low
        part = _hypergeometric(n, m, w)
        for _ in range(examples if len(part) > 1 else 0):
            chances = np.convolve(chances, part)
    return float(min(chances[max(seen - certain, 0) :].sum(), 1.0))


def _shift(differs: Differences, window: int, allowed: float) -> Shift | None:
    before, lately = differs[:-window], differs[-window:]
    if np.isnan(before).all() or np.isnan(lately).all():
        return None
    return Shift(window, float(np.nanmean(before)), float(np.nanmean(lately)), shift_p(differs, window), allowed)


def _hypergeometric(n: int, m: int, w: int) -> NDArray[np.float64]:
    """Chances of low, low + 1, ... of `m` marked rounds among `w` drawn of `n`, low being the fewest possible."""
    low, high = max(0, w - (n - m)), min(m, w)
    total = log_choose(n, w)
    return np.array([math.exp(log_choose(m, k) + log_choose(n - m, w - k) - total) for k in range(low, high + 1)])
