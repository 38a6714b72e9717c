"""Teaching an `encoder` student: a pretrained encoder's first layers, fine-tuned on the teacher's distributions.

Texts are tokenised once. A batch holds texts of about one length, so little is spent on padding; the batches come in a
new order every epoch. AdamW with a linear warm-up and a linear fall; gradients are clipped at norm one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from core.models.encoder import EncoderClassifier
from training.losses import distillation_loss
from training.ngram import OnEpoch

_SORTED_TOGETHER = 16  # batches among which texts are sorted by length: enough to save padding, few enough to mix


@dataclass(frozen=True, slots=True)
class EncoderTraining:
    """Hyper-parameters. The body learns slowly, the new head and pooler fast: they start from nothing."""

    epochs: int = 4
    batch: int = 32
    learning_rate: float = 5e-4
    head_learning_rate: float = 5e-3
    weight_decay: float = 0.01
    warm_up: float = 0.1
    """Share of the steps over which the rate rises."""
    temperature: float = 2.0
    alpha: float = 1.0
    """Weight of the teacher's distribution; the rest is cross-entropy on the hard label."""


def train_encoder(
    student: EncoderClassifier,
    texts: Sequence[str],
    targets: NDArray[np.float32],
    hard: NDArray[np.int64],
    weights: NDArray[np.float32],
    training: EncoderTraining,
    *,
    seed: int,
    on_epoch: OnEpoch | None = None,
) -> EncoderClassifier:
    """Fine-tune `student` in place on n texts and return it, in evaluation mode.

    `targets` holds the teacher's distributions, shape (n, k); `hard` the labels for the hard part of the loss and
    `weights` how much each text counts, both of shape (n,). `seed` decides the order and the dropout.
    """
    ids = student.tokenise(texts)
    teacher, labels, counts = torch.from_numpy(targets), torch.from_numpy(hard), torch.from_numpy(weights)
    rng = np.random.default_rng(seed)
    network = student.network
    optimizer = _optimizer(network, training)
    steps = training.epochs * math.ceil(len(texts) / training.batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _warm_up_then_fall(steps, training.warm_up))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network.train()
        for epoch in range(training.epochs):
            total = 0.0
            for rows in _batches([len(tokens) for tokens in ids], training.batch, rng):
                logits, _ = student.run([ids[row] for row in rows])
                loss = distillation_loss(
                    logits,
                    teacher[rows],
                    labels[rows],
                    temperature=training.temperature,
                    alpha=training.alpha,
                    weights=counts[rows],
                )
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it without types
                torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                total += loss.item() * len(rows)
            if on_epoch is not None:
                on_epoch(epoch + 1, training.epochs, total / len(texts))
        network.eval()
    return student


def _optimizer(network: torch.nn.Module, training: EncoderTraining) -> torch.optim.AdamW:
    """Two rates, and no weight decay on biases and norms (Devlin et al., 1810.04805, and everybody since)."""
    groups: dict[tuple[bool, bool], list[torch.nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        new = "classifier" in name or "pooler" in name
        groups.setdefault((new, parameter.dim() > 1), []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "lr": training.head_learning_rate if new else training.learning_rate,
                "weight_decay": training.weight_decay if decays else 0.0,
            }
            for (new, decays), parameters in groups.items()
        ]
    )


def _warm_up_then_fall(steps: int, share: float) -> Callable[[int], float]:
    """The factor of the rate at each step: up from zero over a share of the steps, then down to zero."""
    rising = max(1, round(steps * share))

    def factor(step: int) -> float:
        return (step + 1) / rising if step < rising else max(0.0, (steps - step) / max(1, steps - rising))

    return factor


def _batches(lengths: Sequence[int], size: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """One epoch's batches: texts shuffled, sorted by length among a few batches, and those batches shuffled."""
    order = rng.permutation(len(lengths))
    together = size * _SORTED_TOGETHER
    batches = []
    for start in range(0, len(order), together):
        rows = sorted(order[start : start + together], key=lambda row: lengths[row])
        batches += [np.array(rows[at : at + size], dtype=np.int64) for at in range(0, len(rows), size)]
    for position in rng.permutation(len(batches)):
        yield batches[position]
