"""Teaching an `ngram` student: the whole loop, readable in one sitting.

The features are those of the numpy inference (`core.models.ngram`), encoded once. An epoch hides some of them, shuffles
the texts, and takes mini-batch steps of AdamW on the distillation loss, at a rate that falls along half a cosine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from core.models.features import Encoded
from core.models.ngram import NgramClassifier, NgramConfig
from training.losses import distillation_loss
from training.threads import one_thread

OnEpoch = Callable[[int, int, float], None]
"""Called after each epoch with (epochs done, epochs in all, mean loss)."""


@dataclass(frozen=True, slots=True)
class NgramTraining:
    """Hyper-parameters, chosen by agreement with the teacher on held-out training messages of Banking77."""

    epochs: int
    batch: int = 64
    learning_rate: float = 4e-3
    weight_decay: float = 0.0
    dropout: float = 0.3
    """Share of a text's features that an epoch hides."""
    temperature: float = 2.0
    alpha: float = 1.0
    """Weight of the teacher's distribution; the rest is cross-entropy on the hard label."""

    @staticmethod
    def usual_epochs(examples: int) -> int:
        """Passes over so many examples: about 200,000 texts in all, which few examples cannot make use of."""
        return min(max(200_000 // max(examples, 1), 10), 40)


@one_thread()
def train_ngram(
    config: NgramConfig,
    texts: Sequence[str],
    targets: NDArray[np.float32],
    hard: NDArray[np.int64],
    weights: NDArray[np.float32],
    training: NgramTraining,
    *,
    seed: int,
    on_epoch: OnEpoch | None = None,
) -> NgramClassifier:
    """Return a student of n texts and k labels.

    `targets` holds the teacher's distributions, shape (n, k); `hard` the labels for the hard part of the loss and
    `weights` how much each text counts, both of shape (n,). `seed` decides the initial weights, the order and the
    dropout.
    """
    initial = NgramClassifier.initial(config, seed)
    model, encoded = NgramModule(initial), initial.features.encode(texts)
    teacher, labels, counts = torch.from_numpy(targets), torch.from_numpy(hard), torch.from_numpy(weights)
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay, fused=True
    )
    steps = training.epochs * math.ceil(len(texts) / training.batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for epoch in range(training.epochs):
        total = 0.0
        for rows, batch in _batches(encoded, training.batch, training.dropout, rng):
            loss = distillation_loss(
                model(*batch),
                teacher[rows],
                labels[rows],
                temperature=training.temperature,
                alpha=training.alpha,
                weights=counts[rows],
            )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it without types
            optimizer.step()
            schedule.step()
            total += loss.item() * len(rows)
        if on_epoch is not None:
            on_epoch(epoch + 1, training.epochs, total / len(texts))
    return NgramClassifier.from_state(config, model.state())


class NgramModule(nn.Module):
    """`NgramClassifier` in torch, for its gradients."""

    def __init__(self, initial: NgramClassifier) -> None:
        super().__init__()
        state = {name: torch.from_numpy(array.copy()) for name, array in initial.state().items()}
        self.embedding = nn.EmbeddingBag.from_pretrained(
            state["embedding"], freeze=False, mode="sum", include_last_offset=True
        )
        self.head = nn.Parameter(state["head"])
        self.bias = nn.Parameter(state["bias"])

    def forward(self, indices: Tensor, offsets: Tensor, scale: Tensor) -> Tensor:
        """Return logits of shape (n, k).

        `indices`, shape (m,), holds the features of all texts; `offsets`, shape (n+1,), where each text's begin, and
        the end; `scale`, shape (n,), what the sum of a text's rows is multiplied by.
        """
        pooled = self.embedding(indices, offsets) * scale[:, None]
        return nn.functional.linear(pooled, self.head, self.bias)

    def state(self) -> dict[str, NDArray[np.float32]]:
        """The weights as `NgramClassifier` takes them."""
        parts = {"embedding": self.embedding.weight, "head": self.head, "bias": self.bias}
        return {name: np.ascontiguousarray(part.detach().numpy()) for name, part in parts.items()}


Batch = tuple[Tensor, Tensor, Tensor]


def whole_batch(encoded: Encoded) -> Batch:
    """All texts as one batch without dropout, as `NgramModule.forward` takes it."""
    indices, offsets, _ = encoded
    return torch.from_numpy(indices), torch.from_numpy(offsets.astype(np.int32)), _scale(offsets, 0.0)


def _batches(encoded: Encoded, size: int, dropout: float, rng: np.random.Generator) -> Iterator[tuple[Tensor, Batch]]:
    """One epoch: the texts in a new order, each without a random share of its features."""
    indices, offsets, _ = encoded
    order = rng.permutation(len(offsets) - 1)
    scale = _scale(offsets, dropout)
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        begin, lengths = offsets[rows], offsets[rows + 1] - offsets[rows]
        ends = np.cumsum(lengths)
        positions = np.arange(ends[-1]) + np.repeat(begin - (ends - lengths), lengths)
        kept = rng.random(len(positions), dtype=np.float32) >= dropout
        # Counting what is kept up to each text's end gives the new offsets.
        new_offsets = np.concatenate(([0], np.cumsum(kept)))[np.concatenate(([0], ends))]
        batch = torch.from_numpy(indices[positions[kept]]), torch.from_numpy(new_offsets.astype(np.int32))
        yield torch.from_numpy(rows), (*batch, scale[rows])


def _scale(offsets: NDArray[np.int64], dropout: float) -> Tensor:
    """`1 / sqrt(m)`, divided by the share that is shown, so that the expected sum is that of the inference."""
    counts = np.maximum(np.diff(offsets), 1)
    return torch.from_numpy((1.0 / ((1.0 - dropout) * np.sqrt(counts))).astype(np.float32))
