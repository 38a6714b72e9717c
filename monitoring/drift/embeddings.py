"""Drift of the student's pooled vectors: maximum mean discrepancy of random Fourier features.

MMD (Gretton, Borgwardt, Rasch, Schölkopf and Smola, JMLR 13, 2012) with a Gaussian kernel, which random features make
an ordinary mean (Rahimi and Recht, NIPS 2007): the distance between the mean features of window and reference, and a
random window is one row of a matrix product. The kernel's width is the median distance between vectors of the part of
the reference that is not compared, and the features' seed is the version's, so both are frozen with it.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from monitoring.drift.numbers import within_classes
from monitoring.drift.permutations import Floats
from monitoring.drift.rows import Row

_FREQUENCIES: Final = 128
_PAIRS: Final = 300  # vectors of which all distances are taken
_KNOWN: Final = 0.9


def vectors_of(rows: Sequence[Row]) -> NDArray[np.float32] | None:
    """The rows' vectors, shape (n, d); NaN where a row has none; None where few have one, or sizes differ."""
    sizes = {len(row.vector) for row in rows if row.vector}
    if len(sizes) != 1 or sum(bool(row.vector) for row in rows) < _KNOWN * len(rows):
        return None
    empty = np.full(sizes.pop() // 2, np.nan, dtype="<f2").tobytes()
    joined = b"".join(row.vector or empty for row in rows)
    return np.frombuffer(joined, dtype="<f2").reshape(len(rows), -1).astype(np.float32)


def median_distance(vectors: NDArray[np.float32]) -> float:
    """The median distance between two of the first 300 vectors, shape (n, d); 0 where that cannot be said."""
    few = vectors[~np.isnan(vectors).any(axis=1)][:_PAIRS].astype(np.float64)
    if len(few) < 2:
        return 0.0
    squares = (few**2).sum(axis=1)
    distances = squares[:, None] + squares[None, :] - 2 * few @ few.T
    return float(np.sqrt(np.median(np.maximum(distances[np.triu_indices(len(few), 1)], 0.0))))


def random_features(vectors: NDArray[np.float32], width: float, version: str) -> NDArray[np.float32]:
    """Cosines and sines of shape (n, 256), whose products are about the Gaussian kernel of that width."""
    rng = np.random.default_rng(zlib.crc32(version.encode()))
    frequencies = rng.standard_normal((vectors.shape[1], _FREQUENCIES), dtype=np.float32) / np.float32(width)
    angles = vectors @ frequencies
    features = np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
    return np.asarray(features / np.sqrt(_FREQUENCIES), dtype=np.float32)


class MeanDiscrepancy:
    """The distance between the mean features of window and reference, of n rows, less the means of their classes."""

    def __init__(self, features: NDArray[np.float32], codes: NDArray[np.int64]) -> None:
        self._features = within_classes(features, codes).astype(np.float32)

    def __call__(self, flags: NDArray[np.float32]) -> Floats:
        """Of m windows, shape (m, n): 1 where a row is the window's, else 0. Returns shape (m,)."""
        rows, now = flags.shape[1], int(flags[0].sum())
        of_window = flags @ self._features
        rest = self._features.sum(axis=0, dtype=np.float64) - of_window
        return np.asarray(np.linalg.norm(of_window / now - rest / (rows - now), axis=1), dtype=np.float64)
