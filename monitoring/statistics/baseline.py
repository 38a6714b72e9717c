"""The baseline under which agreement must not fall: learnt while one watches, or from what was validated.

A baseline that is too high raises false alarms for ever, and one estimated from n comparisons is too high half of the
time. So a baseline is a lower bound, which holds with a probability that is part of the alarms' error budget. Learnt
from a version's own comparisons, it is the highest lower end that its confidence sequence has had (all of them hold at
once); it rises with the evidence, and does not follow agreement down.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import msgspec

from monitoring.statistics.confidence import lower_limit
from monitoring.statistics.weights import WeightedMean

_GROWTH: Final = 1.1
_PRIOR: Final = 10.0
_STEPS: Final = 50  # of a bisection


class Baseline(msgspec.Struct):
    """A baseline for every class, below which its agreement must fall for anything to be called a change.

    A class's is its own agreement, shrunk towards that of all by as much as ten comparisons, and lowered by the same
    amount for every class: by what the lower bound of all lies below the estimate of all, or the margin if that is
    more. A mix of classes that changes is therefore no change.
    """

    overall: float = 0.0
    classes: dict[str, float] = {}
    due: float = 16.0
    """Weight of comparisons at which it is looked at next."""

    def of(self, label: str) -> float:
        """The baseline of a class."""
        return self.classes.get(label, self.overall)

    def learn(self, everything: WeightedMean, classes: Mapping[str, WeightedMean], alpha: float, margin: float) -> None:
        """Raise the baseline where there is evidence for it; all raises together are wrong with chance `alpha`."""
        estimate = everything.estimate
        if everything.weight < self.due or estimate is None:
            return
        self.due = everything.weight * _GROWTH
        lower = min(lower_limit(everything, alpha), estimate - margin)
        if lower <= self.overall:
            return
        self.overall = lower
        self.classes = {label: max(shrunk(mean, estimate) - (estimate - lower), 0.0) for label, mean in classes.items()}


def shrunk(mean: WeightedMean, towards: float, strength: float = _PRIOR) -> float:
    """A class's agreement, shrunk as if `strength` more comparisons had shown `towards`."""
    effective = mean.effective
    return (effective * (mean.estimate or 0.0) + strength * towards) / (effective + strength)


def chernoff_lower(agreement: float, examples: float, alpha: float) -> float:
    """A lower bound of a proportion, from `examples` independent ones, that fails with probability `alpha` at most.

    The smallest m with n KL(p, m) <= log(1/alpha) (Chernoff, Ann. Math. Statist. 23, 1952; Hoeffding, JASA 58, 1963,
    theorem 1). 0 without examples.
    """
    if examples <= 0:
        return 0.0
    allowed = math.log(1 / alpha) / examples
    low, high = 0.0, agreement
    for _ in range(_STEPS):
        m = (low + high) / 2
        if m <= 0 or _divergence(agreement, m) > allowed:
            low = m
        else:
            high = m
    return low


def _divergence(p: float, q: float) -> float:
    """Kullback-Leibler divergence of Bernoulli distributions, 0 < q < 1, in nats."""
    first = p * math.log(p / q) if p > 0 else 0.0
    second = (1 - p) * math.log((1 - p) / (1 - q)) if p < 1 else 0.0
    return first + second
