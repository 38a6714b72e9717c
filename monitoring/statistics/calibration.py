"""How well confidence tells agreement: descriptive.

ECE has no sampling theory, and is positive however well a student is calibrated (about .04 with 300 comparisons), so
none of this raises an alarm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import msgspec

BINS: Final = 10
_LEAST: Final = 2.0**-24
"""The smallest float16: a probability that was stored as 0 counts as this."""


@dataclass(frozen=True, slots=True)
class Bin:
    """One bar of the reliability diagram."""

    comparisons: int
    confidence: float
    agreement: float


class Calibration(msgspec.Struct):
    """Weighted sums over comparisons, in ten bins of equal width in the student's confidence. O(1) for each."""

    counts: list[int] = msgspec.field(default_factory=lambda: [0] * BINS)
    weights: list[float] = msgspec.field(default_factory=lambda: [0.0] * BINS)
    confidences: list[float] = msgspec.field(default_factory=lambda: [0.0] * BINS)
    agreed: list[float] = msgspec.field(default_factory=lambda: [0.0] * BINS)
    squares: float = 0.0
    log_weight: float = 0.0
    logs: float = 0.0

    def add(self, agrees: bool, confidence: float, weight: float, of_teacher: float | None = None) -> None:
        """Take one comparison. `of_teacher`: the probability that the student gave the teacher's label, where known."""
        i = min(max(int(confidence * BINS), 0), BINS - 1)
        self.counts[i] += 1
        self.weights[i] += weight
        self.confidences[i] += weight * confidence
        self.agreed[i] += weight * agrees
        self.squares += weight * (confidence - agrees) ** 2
        if of_teacher is not None:
            self.log_weight += weight
            self.logs -= weight * math.log(max(of_teacher, _LEAST))

    @property
    def ece(self) -> float | None:
        """Expected calibration error (Naeini, Cooper and Hauskrecht, AAAI 2015): mean of |agreement - confidence|."""
        total = sum(self.weights)
        gaps = (abs(agreed - confidence) for agreed, confidence in zip(self.agreed, self.confidences, strict=True))
        return sum(gaps) / total if total else None

    @property
    def brier(self) -> float | None:
        """Mean of (confidence - [agrees])², between 0 and 1 (Brier, Monthly Weather Review 78, 1950; two outcomes)."""
        total = sum(self.weights)
        return self.squares / total if total else None

    @property
    def nll(self) -> float | None:
        """Mean of -log of the probability that the student gave the teacher's label, in nats; None where not known."""
        return self.logs / self.log_weight if self.log_weight else None

    def reliability(self) -> list[Bin | None]:
        """The ten bars of the reliability diagram; None for a bin without comparisons."""
        sums = zip(self.counts, self.weights, self.confidences, self.agreed, strict=True)
        return [Bin(n, c / w, a / w) if w else None for n, w, c, a in sums]
