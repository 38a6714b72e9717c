"""Temperature scaling, and how to judge it (Guo et al., On Calibration of Modern Neural Networks, 1706.04599)."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from core.models.base import FloatArray

_LOWEST: Final = 0.02
_HIGHEST: Final = 50.0
_GOLDEN: Final = (5**0.5 - 1) / 2
_STEPS: Final = 60


def softmax(logits: NDArray[Any], temperature: float = 1.0) -> FloatArray:
    """Return `softmax(logits / temperature)` over the last axis, computed in float64."""
    scaled = logits.astype(np.float64)
    scaled /= temperature
    scaled -= scaled.max(axis=-1, keepdims=True)
    np.exp(scaled, out=scaled)
    scaled /= scaled.sum(axis=-1, keepdims=True)
    return scaled.astype(np.float32)


def nll(logits: NDArray[Any], targets: NDArray[Any], temperature: float = 1.0) -> float:
    """Mean negative log-likelihood in nats of `softmax(logits / temperature)`, logits of shape (n, k).

    `targets` are class indices of shape (n,), or distributions of shape (n, k).
    """
    log_probabilities = _log_softmax(logits, temperature)
    if targets.ndim == 1:
        return float(-np.mean(log_probabilities[np.arange(len(targets)), targets]))
    return float(-np.mean(np.sum(targets * log_probabilities, axis=1)))


def fit_temperature(logits: NDArray[Any], targets: NDArray[Any]) -> float:
    """Return the temperature between 0.02 and 50 that minimises the negative log-likelihood of held-out `targets`.

    The objective is convex in 1/T, so it has one valley along log T as well, and a golden-section search finds it
    whatever its curvature. The result is never worse than T = 1.

    `logits` have shape (n, k); without any the temperature is 1. `targets` are class indices of shape (n,), or
    distributions of shape (n, k).
    """
    if not len(logits):
        return 1.0
    low, high = float(np.log(_LOWEST)), float(np.log(_HIGHEST))
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = nll(logits, targets, np.exp(left)), nll(logits, targets, np.exp(right))
    for _ in range(_STEPS):
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = nll(logits, targets, np.exp(left))
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = nll(logits, targets, np.exp(right))
    found = float(np.exp((low + high) / 2))
    return found if nll(logits, targets, found) < nll(logits, targets, 1.0) else 1.0


def expected_calibration_error(confidences: NDArray[Any], correct: NDArray[Any], bins: int = 15) -> float:
    """Expected calibration error: `sum over bins of n_b/n * |accuracy_b - confidence_b|` (eq. 3), equal-width bins.

    `confidences` in [0, 1] and `correct`, true where the answer was right, have shape (n,).
    """
    if not len(confidences):
        return 0.0
    index = np.minimum((np.asarray(confidences) * bins).astype(np.int64), bins - 1)
    gaps = np.bincount(index, np.asarray(correct, dtype=np.float64) - confidences, minlength=bins)
    return float(np.sum(np.abs(gaps)) / len(confidences))


def _log_softmax(logits: NDArray[Any], temperature: float) -> NDArray[np.float64]:
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    scaled -= scaled.max(axis=-1, keepdims=True)
    return np.asarray(scaled - np.log(np.sum(np.exp(scaled), axis=-1, keepdims=True)))
