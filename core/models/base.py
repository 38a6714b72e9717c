"""What every student architecture offers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
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

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of the logits."""

    def forward(self, texts: Sequence[str]) -> Forward:
        """Run the model over a batch of texts, in evaluation mode."""

    def save(self, folder: Path) -> None:
        """Write `config.json`, the weights as safetensors, and a tokenizer where there is one, into `folder`."""
