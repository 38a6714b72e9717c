"""Agreement over a version's life, and lately."""

from __future__ import annotations

import msgspec

from monitoring.statistics.weights import WeightedMean


class Agreement(msgspec.Struct):
    """One estimand, from a version's first comparison on (`whole`) and over the recent ones.

    A recent mean starts again and again; reported is the older of the last two, so that it holds between `size` and
    twice `size` comparisons of full weight, and each has a confidence sequence of its own.
    """

    size: float
    whole: WeightedMean = msgspec.field(default_factory=WeightedMean)
    recent: WeightedMean = msgspec.field(default_factory=WeightedMean)
    next: WeightedMean = msgspec.field(default_factory=WeightedMean)
    recent_from: int = 0
    """Number of the comparison before `recent` began; `next_from` the same of `next`."""
    next_from: int = 0

    def add(self, agrees: float, weight: float, number: int) -> None:
        """Count one comparison. `number` counts the version's comparisons."""
        self.whole.add(agrees, weight)
        self.recent.add(agrees, weight)
        self.next.add(agrees, weight)
        if self.next.weight >= self.size:
            self.recent, self.recent_from = self.next, self.next_from
            self.next, self.next_from = WeightedMean(), number

    def is_back(self, raised: int, baseline: float) -> bool:
        """Whether the recent ones, all of them later than the comparison `raised` > 0, agree at `baseline` or above."""
        estimate = self.recent.estimate
        return self.recent_from >= raised > 0 and estimate is not None and estimate >= baseline
