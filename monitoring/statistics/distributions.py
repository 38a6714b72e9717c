"""Calibration of the whole distribution, class by class: descriptive, and only where distributions are kept.

For class k, and bin b of the probability p_k that the student gave it,

    class-wise ECE = 1/K times the sum over k and b of |sum of w ([teacher says k] - p_k)| / sum of w

(Kull, Perelló-Nieto, Kängsepp, Silva Filho, Song and Flach, NeurIPS 2019; Nixon, Dusenberry, Zhang, Jerfel and Tran,
CVPR workshops 2019, as static calibration error), with ten bins of equal width. A few vector operations a comparison.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

_BINS: Final = 10


class Distributions(msgspec.Struct):
    """Sums over comparisons with a distribution over `classes` labels. Memory is 160 bytes a class."""

    classes: int = 0
    gaps: bytearray = msgspec.field(default_factory=bytearray)
    """Sums of w ([teacher says k] - p_k), float64 of shape (classes, 10); `variances`: of w² p_k (1 - p_k)."""
    variances: bytearray = msgspec.field(default_factory=bytearray)
    count: int = 0
    weight: float = 0.0
    weight_squares: float = 0.0
    squares: float = 0.0

    def add(self, distribution: bytes, teacher: int, weight: float) -> float | None:
        """Take one comparison: the packed float16 `distribution`, and the position of the teacher's label in it.

        Returns the probability of the teacher's label. None, and nothing is counted, where there is no such position,
        or the distribution is over another number of labels than those before it.
        """
        values: NDArray[np.float64] = np.frombuffer(distribution, dtype="<f2").astype(np.float64)
        size = len(values)
        if not 0 <= teacher < size or (self.classes and size != self.classes):
            return None
        if not self.classes:
            self.classes = size
            self.gaps, self.variances = bytearray(8 * _BINS * size), bytearray(8 * _BINS * size)
        of_teacher = float(values[teacher])
        cells = np.minimum((values * _BINS).astype(np.intp), _BINS - 1)
        cells += np.arange(0, size * _BINS, _BINS)
        gaps, variances = np.frombuffer(self.gaps), np.frombuffer(self.variances)  # views, to be written to
        gaps[cells] -= weight * values
        gaps[cells[teacher]] += weight
        variances[cells] += weight * weight * values * (1 - values)
        self.count += 1
        self.weight += weight
        self.weight_squares += weight * weight
        self.squares += weight * (float(values @ values) - 2 * of_teacher + 1)
        return of_teacher

    @property
    def brier(self) -> float | None:
        """Mean over comparisons of the sum over classes of (p_k - [teacher says k])², between 0 and 2 (Brier, 1950)."""
        return self.squares / self.weight if self.weight else None

    @property
    def ece(self) -> float | None:
        """Class-wise ECE; None without comparisons."""
        if not self.weight:
            return None
        return float(np.abs(np.frombuffer(self.gaps)).sum() / (self.weight * self.classes))

    @property
    def noise(self) -> float | None:
        """About what `ece` would be were the student perfectly calibrated: a mean, by the normal distribution.

        A bin in which hardly anything is expected is no normal one: there it is what Poisson's would give.
        """
        if not self.weight:
            return None
        variances = np.frombuffer(self.variances)
        mean_weight = self.weight_squares / self.weight
        deviations = np.minimum(np.sqrt(variances * (2 / math.pi)), 2 * variances / mean_weight)
        return float(deviations.sum() / (self.weight * self.classes))

    def by_class(self) -> NDArray[np.float64]:
        """The ECE of each class, shape (classes,), in the order of the label set; `ece` is their mean."""
        gaps: NDArray[np.float64] = np.abs(np.frombuffer(self.gaps)).reshape(self.classes, -1).sum(axis=1)
        return gaps / self.weight if self.weight else gaps
