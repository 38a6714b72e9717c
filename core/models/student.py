"""A student that answers: a model, its calibration and its card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.labels import LabelSet
from core.models.base import Classifier, FloatArray
from core.models.calibration import softmax
from core.models.card import Card
from core.models.features import splitmix64

MAX_VECTOR: Final = 64
"""Wider pooled vectors are projected to this many dimensions before they are recorded."""

_MAX_FLOAT16: Final = np.float32(65_504)


@dataclass(frozen=True, slots=True)
class Predictions:
    """Answers to n texts, for k labels."""

    probabilities: FloatArray
    """Shape (n, k): calibrated."""
    vectors: NDArray[np.float16]
    """Shape (n, r), r at most 64: the pooled vector, projected where it is wider."""
    tokens: NDArray[np.int64]
    """Shape (n,): how many tokens (or words) each text had."""


class Student:
    """A model with its card. Thread-safe."""

    def __init__(self, card: Card, model: Classifier) -> None:
        self.card = card
        self.model = model
        self.labels = LabelSet(card.labels)

    def predict(self, texts: Sequence[str]) -> Predictions:
        """Answer a batch of texts."""
        forward = self.model.forward(texts)
        probabilities = softmax(forward.logits, self.card.temperature)
        return Predictions(probabilities, reduce_vectors(forward.pooled), forward.tokens)


def reduce_vectors(pooled: FloatArray) -> NDArray[np.float16]:
    """Project vectors of shape (n, d) to at most 64 dimensions, keeping distances about (Achlioptas, 2003).

    The projection is a matrix of signs that depends on d alone, so vectors of one architecture stay comparable.
    """
    width = pooled.shape[1]
    if width > MAX_VECTOR:
        pooled = pooled @ _signs(width)
    return np.minimum(np.maximum(pooled, -_MAX_FLOAT16), _MAX_FLOAT16).astype(np.float16)


def _signs(width: int) -> FloatArray:
    """Random signs over sqrt(r), shape (d, r), the same on every machine."""
    bits = splitmix64(np.arange(width * MAX_VECTOR, dtype=np.uint64) + np.uint64(width << 32)) & np.uint64(1)
    signs = np.where(bits, 1.0, -1.0).astype(np.float32) / np.float32(MAX_VECTOR**0.5)
    return signs.reshape(width, MAX_VECTOR)
