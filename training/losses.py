"""Logit matching, as small as it is.

Notation: n examples, k labels, z the logits, p the teacher's distribution, T the temperature. The teacher gives
probabilities rather than logits; `log p` is as good, since softmax forgets the constant between them.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

PROBABILITY_FLOOR = 1e-6
"""Below this a teacher's probability is noise (chat APIs and float16 round it away); its logarithm must stay finite."""


def soften(teacher_probabilities: Tensor, temperature: float) -> Tensor:
    """Return the teacher's distribution at temperature T: `softmax(log p / T)`, p floored. Shape (n, k), float32."""
    floored = teacher_probabilities.float().clamp_min(PROBABILITY_FLOOR)
    return functional.softmax(floored.log() / temperature, dim=-1)


def kd_loss(student_logits: Tensor, teacher_probabilities: Tensor, temperature: float) -> Tensor:
    """Return `T² KL(softmax(log p / T) ‖ softmax(z / T))` for each example, shape (n,).

    Hinton, Vinyals and Dean (arXiv 1503.02531, section 2). T² keeps the gradient's size independent of T: as T grows it
    tends to `(z - mean z) - (log p - mean log p)`, divided by k (their equation 4). Everything is float32 before the
    logarithm: in bfloat16 the divergence of a distribution from itself is of the size of the loss.

    Both arguments have shape (n, k).
    """
    target = soften(teacher_probabilities, temperature)
    predicted = functional.log_softmax(student_logits.float() / temperature, dim=-1)
    # xlogy is zero where the target is, as the divergence asks.
    divergence = (torch.xlogy(target, target) - target * predicted).sum(dim=-1)
    return temperature**2 * divergence


def distillation_loss(
    student_logits: Tensor,
    teacher_probabilities: Tensor,
    hard_labels: Tensor,
    *,
    temperature: float,
    alpha: float,
    weights: Tensor | None = None,
) -> Tensor:
    """Return the mean of `alpha * kd_loss + (1 - alpha) * cross-entropy(hard label)`, a scalar.

    `hard_labels`: shape (n,), int64. `weights`: shape (n,); the mean is weighted by them.
    """
    loss = alpha * kd_loss(student_logits, teacher_probabilities, temperature)
    if alpha < 1.0:
        loss = loss + (1.0 - alpha) * functional.cross_entropy(student_logits.float(), hard_labels, reduction="none")
    if weights is None:
        return loss.mean()
    return (loss * weights).sum() / weights.sum()
