"""Banking77 as traffic: what a student said of each test message, how sure it was, and whether its teacher agreed.

Teacher and student are those of `benchmarks.distil`, of one seed. Where the data set is not at hand, a student is made
up that agrees exactly as often as it says.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.distil import DEFAULT_ENCODER, load_task, run_seed
from core.models.folder import load_student
from core.models.linear_probe import SentenceEncoder

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Messages to draw traffic from. Arrays of shape (n,)."""

    name: str
    confidence: Floats
    agrees: NDArray[np.bool_]

    @property
    def agreement(self) -> float:
        """Of traffic that is drawn from these."""
        return float(self.agrees.mean())


def banking77(folder: Path, encoder: str = DEFAULT_ENCODER) -> Pairs:
    """Teach a student, and let it and its teacher answer the test messages that are not among the training messages."""
    sentences = SentenceEncoder(encoder)
    task = load_task(folder, sentences, quick=False)
    texts = [text for text, fresh in zip(task.test, task.fresh, strict=True) if fresh]
    with tempfile.TemporaryDirectory(prefix="tutelage-pairs-") as scratch:
        result = run_seed(task, 0, Path(scratch))
        said = load_student(result.folder).predict(texts).probabilities
    logits = task.test_vectors[task.fresh] @ result.head.weight.T + result.head.bias
    agrees = said.argmax(axis=1) == logits.argmax(axis=1)
    return Pairs("Banking77", said.max(axis=1).astype(np.float64), agrees)


def made_up(size: int = 4000) -> Pairs:
    """A student of about 90 % agreement that is perfectly calibrated."""
    rng = np.random.default_rng(0)
    confidence = np.where(rng.random(size) < 0.7, rng.beta(30, 0.5, size), rng.beta(3, 1.4, size))
    return Pairs("made-up student", confidence, rng.random(size) < confidence)
