"""Agreement as the student itself expects it: the mean of its calibrated confidence, over all exchanges.

This is what NannyML calls confidence-based performance estimation (CBPE): it costs no teacher call, and is there at
once and for every class. It is right as long as confidence is calibrated, and follows a changed mix of inputs. It does
not see concept drift, since a student that does not know that the right answer has changed is as sure as before. So it
is shown beside the measured agreement, and never instead of it: where they part, calibration has gone.
"""

from __future__ import annotations

from typing import Final

import msgspec

_WINDOW: Final = 5000  # exchanges


class Sum(msgspec.Struct):
    """A mean in the making."""

    count: int = 0
    total: float = 0.0

    def add(self, value: float) -> None:
        """Take one value."""
        self.count += 1
        self.total += value

    @property
    def mean(self) -> float | None:
        """None without values."""
        return self.total / self.count if self.count else None


class Expected(msgspec.Struct):
    """By the student's label, its confidence over all exchanges (`whole`) and over the last 5,000 to 10,000."""

    whole: dict[str, Sum] = {}
    young: dict[str, Sum] = {}
    old: dict[str, Sum] = {}
    filled: int = 0
    """Exchanges in `young`."""

    def add(self, label: str, confidence: float) -> None:
        """Take one exchange, compared or not. O(1); bounded by the number of labels."""
        for sums in (self.whole, self.young):
            one = sums.get(label)
            if one is None:
                one = sums[label] = Sum()
            one.count += 1
            one.total += confidence
        self.filled += 1
        if self.filled >= _WINDOW:
            self.old, self.young, self.filled = self.young, {}, 0

    def of(self, label: str, *, lately: bool = False) -> float | None:
        """Expected agreement of the answers of a class; None without any."""
        sums = [part[label] for part in self._parts(lately=lately) if label in part]
        count = sum(one.count for one in sums)
        return sum(one.total for one in sums) / count if count else None

    def overall(self, *, lately: bool = False) -> float | None:
        """Expected agreement over all inputs; None without exchanges."""
        sums = [one for part in self._parts(lately=lately) for one in part.values()]
        count = sum(one.count for one in sums)
        return sum(one.total for one in sums) / count if count else None

    def _parts(self, *, lately: bool) -> tuple[dict[str, Sum], ...]:
        return (self.old, self.young) if lately else (self.whole,)
