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

The baseline is a bound that agreement must not fall below (`monitoring.statistics.baseline`), or where the level is
not known, what is to be expected by all comparisons before (`monitoring.statistics.level`, which says what then holds).

Beside it runs the e-CUSUM, `C <- L max(C, 1)`: where the largest of the bets last stood at 1, the change is estimated
to lie.
"""

from __future__ import annotations

from typing import Final

import msgspec

BETS: Final = (0.03, 0.06, 0.12, 0.25, 0.5)
"""Shares of the largest bet 1/(1 - m). A drop by d is best bet on with the share d/m; one that is up to one and a half
times too large or too small grows four fifths as fast, so each serves drops from 0.7 to 1.4 of its own."""
_LARGEST: Final = 0.9
MOST_BASELINE: Final = 0.995
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


def bets_beyond(margin: float) -> tuple[float, ...]:
    """The bets of a detector that looks for no drop smaller than `margin`, which is in [0, 1).

    A bet on twice the margin or more loses in the long run where agreement drops by the margin or less: its logarithm
    grows, to second order, by a multiple of `2 d bet - bet²`.
    """
    return tuple(bet for bet in BETS if bet >= 2 * margin) or (min(2 * margin, _LARGEST),)


class Detector(msgspec.Struct, omit_defaults=True):
    """A mixture e-Shiryaev-Roberts detector, with e-CUSUMs for when. O(1) for each comparison."""

    bets: tuple[float, ...] = BETS
    sums: list[float] = []
    """By bet, as all that follows; empty before the first comparison."""
    cusums: list[float] = []
    starts: list[Mark] = []
    """Where each e-CUSUM last left 1."""
    count: int = 0
    weight: float = 0.0

    @property
    def value(self) -> float:
        """M: to be held against `threshold`."""
        return sum(self.sums) / len(self.bets)

    @property
    def change(self) -> Mark | None:
        """The first comparison after the change, where there seems to be one: the start of the largest e-CUSUM."""
        largest = max(self.cusums, default=0.0)
        return self.starts[self.cusums.index(largest)] if largest > 1 else None

    def observe(self, agrees: float, weight: float, baseline: float, mark: Mark) -> None:
        """Take one comparison.

        `agrees` is 0 or 1, or a score between; `weight` is in (0, 1], `baseline` in [0, 1] and fixed before `agrees`
        was known.
        """
        start = self.weight / self.count if self.count else 1.0
        self.count += 1
        self.weight += weight
        if not self.sums:
            size = len(self.bets)
            self.sums, self.cusums, self.starts = [0.0] * size, [1.0] * size, [mark] * size
        sums, cusums, starts = self.sums, self.cusums, self.starts
        m = min(baseline, MOST_BASELINE)
        gain = weight * (m - agrees) / (1 - m)
        for i, bet in enumerate(self.bets):
            factor = 1 + bet * gain
            total = factor * (sums[i] + start)
            if total > _HUGE:  # `min` would take a fifth of the time of all this
                total = _HUGE
            sums[i] = total
            before = cusums[i]
            if before <= 1:
                starts[i] = mark
                before = factor
            elif before < _HUGE:
                before *= factor
            cusums[i] = before

    def restart(self) -> None:
        """Begin anew, as after an alarm. What it learnt about the weights stays."""
        self.sums, self.cusums, self.starts = [], [], []
