"""Drift of numbers: the normed Wasserstein distance, as Evidently has it, over many random windows at once.

Compared are differences from the mean of the predicted class (over reference and window together), so that a changed
mix of classes moves nothing; lengths and words as logarithms, so that one long text does not outweigh all others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from monitoring.drift.permutations import Bools, Floats
from monitoring.drift.rows import Row

_LEAST_SPREAD: Final = 0.001  # Evidently's
_KNOWN: Final = 0.9  # of the rows on each side, for a number to be compared

_NUMBERS: Final[Mapping[str, Callable[[Row], float | None]]] = {
    "confidence": lambda row: row.confidence,
    "entropy": lambda row: row.entropy,
    "length": lambda row: _log(row.length),
    "words": lambda row: _log(row.words),
    "non_letters": lambda row: row.non_letters,
    "oov": lambda row: row.oov,
}


def _log(number: int | None) -> float | None:
    return None if number is None else float(np.log1p(number))


def columns_of(before: Sequence[Row], now: Sequence[Row]) -> dict[str, Floats]:
    """The numbers that enough rows have, reference first, shape (n,); NaN where one has none."""
    columns = {}
    for name, read in _NUMBERS.items():
        sides = [_column(rows, read) for rows in (before, now)]
        if all(len(side) and np.mean(~np.isnan(side)) >= _KNOWN for side in sides):
            columns[name] = np.concatenate(sides)
    return columns


def _column(rows: Sequence[Row], read: Callable[[Row], float | None]) -> Floats:
    return np.array([np.nan if (value := read(row)) is None else value for row in rows], dtype=np.float64)


def within_classes(values: NDArray[np.floating], codes: NDArray[np.int64]) -> Floats:
    """Differences from the mean of the class, shape (n, ...); 0 where a row has no value."""
    flat = values.reshape(len(values), -1)
    known = ~np.isnan(flat)
    filled = np.where(known, flat, np.zeros((), flat.dtype))
    order = np.argsort(codes, kind="stable")
    _, starts, classes = np.unique(codes[order], return_index=True, return_inverse=True)
    sums, counts = (np.add.reduceat(side[order], starts, axis=0, dtype=np.float64) for side in (filled, known))
    means = np.empty((len(values), flat.shape[1]))
    means[order] = (sums / np.maximum(counts, 1))[classes]
    return np.where(known, filled - means, 0.0).reshape(values.shape)


class Wasserstein:
    """The distance between window and reference, of one number of n rows."""

    def __init__(self, values: Floats) -> None:
        self._order = np.argsort(values, kind="stable")
        self._gaps = np.diff(values[self._order]).astype(np.float32)
        self._values = np.stack([values, values**2], axis=1).astype(np.float32)

    def __call__(self, flags: NDArray[np.float32]) -> Floats:
        """Of m windows, shape (m, n): 1 where a row is the window's, else 0. Returns shape (m,)."""
        rows, now = flags.shape[1], int(flags[0].sum())
        before = rows - now
        gap = np.cumsum(np.take(flags, self._order[:-1], axis=1), axis=1)  # whole numbers, exact in float32
        gap *= np.float32(1 / now + 1 / before)
        gap -= (np.arange(1, rows, dtype=np.float64) / before).astype(np.float32)
        np.abs(gap, out=gap)
        total = self._values.sum(axis=0, dtype=np.float64)
        mean, square = ((total - flags @ self._values) / before).T
        spread = np.sqrt(np.maximum(square - mean**2, 0.0))
        return np.asarray(gap @ self._gaps / np.maximum(spread, _LEAST_SPREAD), dtype=np.float64)


def as_numbers(flags: Bools) -> NDArray[np.float32]:
    """Flags as the scores want them."""
    return flags.astype(np.float32)
