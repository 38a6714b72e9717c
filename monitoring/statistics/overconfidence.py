"""Does confidence overstate agreement? A bounded mean, and so with a promise that ECE cannot give.

With the confidence c of an answer, its agreement a, weight w, and a margin d, as long as on average over all inputs,
given the past, confidence is above agreement by d at most,

    L = 1 + lambda w (c - a - d),   0 <= lambda < 1/(1 + d),   has mean 1 at most,

for every lambda that is fixed beforehand. The mixture e-Shiryaev-Roberts detector over such bets is that of
`monitoring.statistics.detector`: it starts anew with every comparison, so that a student that was well calibrated for
months is not slower to be found out, and P(it reaches H/alpha within H comparisons of full weight) <= alpha.

One-sided on purpose: a student that is surer than it should be gives wrong answers to clients, one that is less sure
only asks the teacher too often. That it is right on average is all that is tested; ECE describes the rest.
"""

from __future__ import annotations

from typing import Final

import msgspec

from monitoring.statistics.detector import Mark

_SHARES: Final = (0.1, 0.2, 0.4, 0.8)
"""Of the largest bet 1/(1 + d). An excess e beyond the margin is best bet on with e/v, and the variance v is about 0.1:
these serve excesses of 1 to 10 points and more."""
_HUGE: Final = 1e200


class Overconfidence(msgspec.Struct):
    """The detector, with e-CUSUMs for when, and the mean excess of confidence. O(1) for each comparison."""

    sums: list[float] = msgspec.field(default_factory=lambda: [0.0] * len(_SHARES))
    cusums: list[float] = msgspec.field(default_factory=lambda: [1.0] * len(_SHARES))
    starts: list[Mark | None] = msgspec.field(default_factory=lambda: [None] * len(_SHARES))
    """Where each e-CUSUM last left 1."""
    count: int = 0
    weight: float = 0.0
    gap: float = 0.0
    """Sum of w (c - a)."""
    since_count: int = 0
    """Comparisons since `restart` or `note`; `since_weight` and `since_gap` the same of the sums."""
    since_weight: float = 0.0
    since_gap: float = 0.0

    @property
    def value(self) -> float:
        """The detector, to be held against `monitoring.statistics.detector.threshold`."""
        return sum(self.sums) / len(_SHARES)

    @property
    def change(self) -> Mark | None:
        """The first comparison since which confidence is too high, where it seems to be: of the largest e-CUSUM."""
        best = max(range(len(_SHARES)), key=self.cusums.__getitem__)
        return self.starts[best] if self.cusums[best] > 1 else None

    @property
    def excess(self) -> float | None:
        """Weighted mean of c - a, between -1 and 1; None without comparisons. Positive: too sure."""
        return self.gap / self.weight if self.weight else None

    @property
    def excess_since(self) -> float | None:
        """The same since `note`."""
        return self.since_gap / self.since_weight if self.since_weight else None

    def observe(self, agrees: bool, confidence: float, weight: float, margin: float, mark: Mark) -> None:
        """Take one comparison. `confidence` in [0, 1], `weight` in (0, 1], `margin` fixed for good."""
        start = self.weight / self.count if self.count else 1.0
        gap = weight * (confidence - agrees)
        self.count += 1
        self.weight += weight
        self.gap += gap
        self.since_count += 1
        self.since_weight += weight
        self.since_gap += gap
        gain = (gap - weight * margin) / (1 + margin)
        sums, cusums = self.sums, self.cusums
        for i, share in enumerate(_SHARES):
            factor = 1 + share * gain
            sums[i] = min(factor * (sums[i] + start), _HUGE)
            before = cusums[i]
            if before <= 1:
                self.starts[i] = mark
                before = 1.0
            cusums[i] = min(factor * before, _HUGE)

    def note(self) -> None:
        """From here on `excess_since` counts."""
        self.since_count, self.since_weight, self.since_gap = 0, 0.0, 0.0

    def restart(self) -> None:
        """Begin anew, as after an alarm. The mean excess of the whole stays."""
        self.sums = [0.0] * len(_SHARES)
        self.cusums = [1.0] * len(_SHARES)
        self.starts = [None] * len(_SHARES)
        self.note()
