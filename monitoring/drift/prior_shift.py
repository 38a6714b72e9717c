"""How often each class comes now, against the reference: descriptive.

Counting the student's labels would count its mistakes too. Where the inputs of each class are what they were and only
the classes' shares have changed, the most likely shares are found by expectation maximisation from calibrated
distributions (Saerens, Latinne and Decaestecker, Neural Computation 14, 2002):

    q_y <- mean over the window of  p(y|x) q_y / pi_y  /  sum over z of p(z|x) q_z / pi_z,       pi: the reference's

Both are bootstrapped together. The intervals say nothing of a student whose calibration has gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from monitoring.drift.reference import Reference
from monitoring.drift.rows import Row, distributions
from monitoring.drift.verdict import ClassShare

_STEPS: Final = 50
_TOLERANCE: Final = 1e-4
_LEAST: Final = np.float32(1e-6)
_FEWEST: Final = 50  # rows with a distribution


def class_shares(
    reference: Reference, window: Sequence[Row], names: Sequence[str], rng: np.random.Generator
) -> list[ClassShare]:
    """The share of each class in the window, with an interval of 95 %; empty without distributions."""
    priors, dense = reference.priors(len(names)), distributions(window, len(names))
    if priors is None or len(dense) < max(_FEWEST, len(window) / 2):
        return []
    counts = rng.multinomial(len(dense), np.full(len(dense), 1 / len(dense)), size=len(priors) - 1)
    weights = (np.concatenate([np.ones((1, len(dense))), counts]) / len(dense)).astype(np.float32)
    found = most_likely_shares(dense, weights, np.maximum(priors, _LEAST).astype(np.float32))
    lower, upper = np.quantile(found[1:], [0.025, 0.975], axis=0)
    return [
        ClassShare(name, *(float(row[i]) for row in (priors[0], found[0], lower, upper)))
        for i, name in enumerate(names)
    ]


def most_likely_shares(
    dense: NDArray[np.float32], weights: NDArray[np.float32], priors: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Shares of k classes for b weightings at once.

    `dense`, shape (n, k), holds distributions, `weights`, shape (b, n), sums to 1 in each row, and `priors`, shape
    (b, k), belongs to what the distributions were calibrated on. Returns shape (b, k).
    """
    shares: NDArray[np.float32] = (priors / priors.sum(axis=1, keepdims=True)).astype(np.float32)
    scale = 1 / priors
    for _ in range(_STEPS):
        ratio = shares * scale
        evidence = np.maximum(dense @ ratio.T, np.float32(1e-12))
        moved = (ratio * ((weights / evidence.T) @ dense)).astype(np.float32)
        change = float(np.abs(moved - shares).sum(axis=1).max())
        shares = moved
        if change < _TOLERANCE:
            break
    return shares
