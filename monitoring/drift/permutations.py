"""Permutation tests, which ask whether a window differs more from its reference than a random part of both would.

Under no drift it does not matter which exchanges are called reference and which window, so a score's distribution is
that over random exchanges of the two at their actual sizes (p-value of Phipson and Smyth, Stat. Appl. Genet. Mol. Biol.
9, 2010). Resampling the reference alone would forget its own noise. Where the mix of classes is to be no drift,
exchanges are swapped within classes alone: that is exact where within a class it does not matter which is which.

Several scores make one by their largest standardised value (Westfall and Young, Resampling-based multiple testing,
1993), whose distribution over the same permutations knows how the scores depend on one another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

FIRST: Final = 999
"""Permutations from which thresholds and the p-values of single signals come."""
_BATCH: Final = 500
_ENOUGH: Final = 20
_TIE: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Strata:
    """Rows of reference and window by class: which may be swapped with which."""

    order: NDArray[np.int64]
    """Shape (n,): all rows, those of the reference first, sorted by class."""
    blocks: Sequence[tuple[int, int, int]]
    """For each class, where it begins in `order`, how many rows it has, and how many of these are the window's."""
    codes: NDArray[np.int64]
    """Shape (n,): the class of each row, in `order`."""

    @property
    def observed(self) -> Bools:
        """Shape (1, n), in `order`: which rows are the window's."""
        flags = np.zeros((1, len(self.order)), dtype=bool)
        for start, rows, now in self.blocks:
            flags[0, start + rows - now : start + rows] = True
        return flags

    def draw(self, count: int, rng: np.random.Generator) -> Bools:
        """So many random windows with as many rows of each class, shape (count, n)."""
        flags = np.repeat(self.observed, count, axis=0)
        for start, rows, now in self.blocks:
            if 0 < now < rows:
                flags[:, start : start + rows] = rng.permuted(flags[:, start : start + rows], axis=1)
        return flags


def strata_of(before: Sequence[str], now: Sequence[str]) -> Strata:
    """Strata by the labels of the reference's rows and the window's."""
    _, codes = np.unique([*before, *now], return_inverse=True)
    order = np.argsort(codes, kind="stable")  # within a class the reference's rows stay first
    sizes = np.bincount(codes)
    of_window = np.bincount(codes[len(before) :], minlength=len(sizes))
    starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
    blocks = [(int(a), int(b), int(c)) for a, b, c in zip(starts, sizes, of_window, strict=True)]
    return Strata(order, blocks, codes[order])


@dataclass(frozen=True, slots=True)
class Tested:
    """Scores of some signals together."""

    scores: Floats
    """Shape (s,); `thresholds` and `p_values` alike, each of one signal alone."""
    thresholds: Floats
    p_values: Floats
    p_value: float
    """Of all of them together."""


def compare_together(
    observed: Floats, draw: Callable[[int], Floats], *, level: float, pointwise: float = 0.01
) -> Tested:
    """Test s scores together, shape (s,). `draw(m)` gives the scores of m random windows, shape (m, s).

    `level` is how small the p-value of all together must be able to get, `pointwise` the chance with which a signal
    passes its threshold without drift.

    The first permutations only scale the scores; the p-value comes from further ones, as many as it takes (Besag and
    Clifford, Biometrika 78, 1991): a window without drift is done after a few hundred.
    """
    first = draw(FIRST)
    middle, spread = first.mean(axis=0), np.maximum(first.std(axis=0), 1e-12)

    def largest(scores: Floats) -> Floats:
        return np.asarray(((scores - middle) / spread).max(axis=-1), dtype=np.float64)

    exceeding = np.count_nonzero(first >= observed - _TIE, axis=0)
    return Tested(
        observed,
        np.quantile(first, 1 - pointwise, axis=0, method="higher"),
        (1 + exceeding) / (1 + len(first)),
        sequential_p(float(largest(observed)), lambda count: largest(draw(count)), level),
    )


def sequential_p(observed: float, draw: Callable[[int], Floats], level: float) -> float:
    """A p-value from as many random scores as needed: until 20 are as large, or a p-value of `level` was possible."""
    most, done, exceeding = math.ceil(1 / level), 0, 0
    while done < most:
        hits = np.flatnonzero(draw(min(_BATCH, most - done)) >= observed - _TIE)
        if exceeding + len(hits) >= _ENOUGH:
            return _ENOUGH / (done + int(hits[_ENOUGH - exceeding - 1]) + 1)
        exceeding += len(hits)
        done += min(_BATCH, most - done)
    return (exceeding + 1) / (most + 1)
