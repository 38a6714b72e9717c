"""What every student architecture offers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Forward:
    """One pass over n texts with k labels."""

    logits: FloatArray
    """Shape (n, k), before any calibration temperature."""
    pooled: FloatArray
    """Shape (n, d): the vector that the head reads."""
    tokens: NDArray[np.int64]
    """Shape (n,): how many tokens (or words) each text had."""


class Classifier(Protocol):
    """A model that maps texts to logits over a fixed list of labels. Thread-safe for concurrent `forward` calls."""

    @property
    def architecture(self) -> str:
        """`ngram`, `encoder` or `linear_probe`."""

    def forward(self, texts: Sequence[str]) -> Forward:
        """Run the model over a batch of texts, in evaluation mode."""
