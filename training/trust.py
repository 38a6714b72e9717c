"""Which classes a student may answer, with the evidence for it.

Judged is what the student would *give*: its answers on held-out texts whose confidence reaches `min_confidence`,
grouped by the class that it answers. What is below, the cascade sends to the teacher whatever the class, so it must
neither earn nor cost a class its trust. And the gateway knows the student's class, not the teacher's, when it decides:
precision is the question, not recall.

A class has few held-out texts, so its raw agreement k/n is mostly noise. It is shrunk towards the overall one by as
much as the classes' own spread warrants: empirical Bayes with a beta prior whose mean m and strength M come from the
method of moments (J. C. Kleinman, Proportions with extraneous variance, JASA 68, 1973, p. 46-54):

    shrunk = (k + M m) / (n + M)

M is bounded, so that however alike the classes look, a class with evidence of its own is not outvoted by the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.labels import LabelSet
from core.settings import TrustSettings

_WEAKEST: Final = 1.0
_STRONGEST: Final = 10.0
"""Bounds of M, in examples."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a student may answer a class, and why; `core.ledger.Trust` once the student has a version."""

    label: str
    trusted: bool
    agreement: float
    """Shrunk agreement with the teacher."""
    examples: int
    """Held-out answers that it rests on."""
    evidence: str


def judge_classes(
    probabilities: NDArray[np.float32],
    answers: NDArray[np.int64],
    labels: LabelSet,
    settings: TrustSettings,
) -> list[Verdict]:
    """Return one verdict for each label, in the order of the label set.

    `probabilities`, shape (n, k): the student's calibrated distributions on held-out texts. `answers`, shape (n,): what
    the teacher said of them.
    """
    return judge_answers(probabilities.max(axis=1), probabilities.argmax(axis=1), answers, labels, settings)


def judge_answers(
    confidence: NDArray[np.float32],
    predicted: NDArray[np.int64],
    answers: NDArray[np.int64],
    labels: LabelSet,
    settings: TrustSettings,
) -> list[Verdict]:
    """The same of n answers whose distributions are not at hand: label, confidence and the teacher's label of each."""
    given = confidence >= settings.min_confidence
    counts = np.bincount(predicted[given], minlength=len(labels))
    agreed = np.bincount(predicted[given & (predicted == answers)], minlength=len(labels))
    mean, strength = beta_prior(agreed, counts)
    shrunk = (agreed + strength * mean) / (counts + strength)
    return [
        _verdict(name, int(counts[i]), int(agreed[i]), float(shrunk[i]), mean, settings)
        for i, name in enumerate(labels.names)
    ]


def beta_prior(successes: NDArray[np.int64], counts: NDArray[np.int64]) -> tuple[float, float]:
    """Return mean m and strength M of the beta distribution from which the classes' proportions seem to be drawn.

    Method of moments (Kleinman 1973, each class weighing as much as it has examples): with proportions p_i of n_i, N
    their sum,

        m = sum n_i p_i / N,   S = sum n_i (p_i - m)²,
        rho = (S - m(1-m)(c-1)) / (m(1-m)(N - sum n_i²/N - (c-1))),   M = 1/rho - 1

    over the c classes with n_i > 0. rho, the correlation of two answers within a class, is not positive where the
    classes differ no more than chance would have it: M is its upper bound then.
    """
    seen = counts > 0
    n, k = counts[seen].astype(np.float64), successes[seen].astype(np.float64)
    total = n.sum()
    if not total:
        return 0.0, _STRONGEST
    mean = float(k.sum() / total)
    classes, variance = len(n), mean * (1 - mean)
    freedom = total - (n**2).sum() / total - (classes - 1)
    if variance == 0 or freedom <= 0:
        return mean, _STRONGEST
    spread = float((n * (k / n - mean) ** 2).sum())
    rho = (spread - variance * (classes - 1)) / (variance * freedom)
    strength = 1 / rho - 1 if rho > 0 else _STRONGEST
    return mean, min(max(strength, _WEAKEST), _STRONGEST)


def _verdict(name: str, count: int, agreed: int, shrunk: float, mean: float, settings: TrustSettings) -> Verdict:
    enough, good = count >= settings.min_examples, shrunk >= settings.min_agreement
    evidence = (
        f"agreed with the teacher on {agreed} of {count} held-out answers at confidence {settings.min_confidence:g} "
        f"and above; {shrunk:.3f} shrunk towards {mean:.3f} overall"
    )
    if not enough:
        evidence += f"; fewer than {settings.min_examples} examples"
    elif not good:
        evidence += f"; below {settings.min_agreement:g}"
    return Verdict(label=name, trusted=enough and good, agreement=shrunk, examples=count, evidence=evidence)
