"""An e-detector: it trips where agreement has fallen below its baseline, some time ago.

Shin, Ramdas and Rinaldo, E-detectors: a nonparametric framework for sequential change detection, arXiv 2203.03532. For
a bet lambda, and a comparison a with weight w and baseline m, as long as agreement is m or better

    L = 1 + lambda w (m - a),   0 <= lambda < 1/(1 - m),   has mean 1 at most given the past.

The mixture e-Shiryaev-Roberts detector starts anew with every comparison and sums up, over a mixture of bets:

    M <- L (M + s),    P(M reaches c before the sum of s reaches H) <= H / c   (Doob, since M minus that sum is a
                                                                                supermartingale; s = 1 in the paper)

so c = H / alpha keeps the chance of a false alarm within a horizon H at alpha. The start s must be fixed before the
comparison; it is the mean weight so far, so that H counts comparisons of full weight, and a stream in which most weigh
little does not pay for a hundred starts where one would do. m may differ from one comparison to the next where it is
fixed by what is known beforehand, such as the student's answer: baselines per class make a changing mix of classes no
change. Several detectors that share the comparisons between them (one for each class) may share one c as well: their
sum obeys the same bound.

Beside it runs the e-CUSUM, `C <- L max(C, 1)`: where the largest of the bets last stood at 1, the change is estimated
to lie.
"""

from __future__ import annotations

from typing import Final

import msgspec

BETS: Final = tuple(0.02 * 45 ** (i / 8) for i in range(9))
"""Shares of the largest bet 1/(1 - m): 0.02 to 0.9. A drop by d is best bet on with the share d/m."""
_MOST_BASELINE: Final = 0.995
_HUGE: Final = 1e200


class Mark(msgspec.Struct, frozen=True):
    """A place in the stream of comparisons."""

    number: int
    """Of the comparison, counted by the state from 1."""
    exchange: str
    at: float
    """When that exchange was answered, in seconds since the epoch."""


def threshold(horizon: float, alpha: float) -> float:
    """The c that keeps the chance of a false alarm within `horizon` comparisons of full weight at `alpha`."""
    return horizon / alpha


class Detector(msgspec.Struct):
    """A mixture e-Shiryaev-Roberts detector, with e-CUSUMs for when. O(1) for each comparison."""

    sums: list[float] = msgspec.field(default_factory=lambda: [0.0] * len(BETS))
    cusums: list[float] = msgspec.field(default_factory=lambda: [1.0] * len(BETS))
    starts: list[Mark | None] = msgspec.field(default_factory=lambda: [None] * len(BETS))
    """Where each e-CUSUM last left 1."""
    count: int = 0
    weight: float = 0.0

    @property
    def value(self) -> float:
        """M: to be held against `threshold`."""
        return sum(self.sums) / len(BETS)

    @property
    def change(self) -> Mark | None:
        """The first comparison after the change, where there seems to be one: the start of the largest e-CUSUM."""
        best = max(range(len(BETS)), key=self.cusums.__getitem__)
        return self.starts[best] if self.cusums[best] > 1 else None

    def observe(self, agrees: bool, weight: float, baseline: float, mark: Mark) -> None:
        """Take one comparison. `weight` is in (0, 1], `baseline` in [0, 1] and fixed before `agrees` was known."""
        start = self.weight / self.count if self.count else 1.0
        self.count += 1
        self.weight += weight
        m = min(baseline, _MOST_BASELINE)
        gain = -weight if agrees else weight * m / (1 - m)
        for i, bet in enumerate(BETS):
            factor = 1 + bet * gain
            self.sums[i] = min(factor * (self.sums[i] + start), _HUGE)
            before = self.cusums[i]
            if before <= 1:
                self.starts[i] = mark
                before = 1.0
            self.cusums[i] = min(factor * before, _HUGE)

    def restart(self) -> None:
        """Begin anew, as after an alarm. What it learnt about the weights stays."""
        self.sums = [0.0] * len(BETS)
        self.cusums = [1.0] * len(BETS)
        self.starts = [None] * len(BETS)
