"""How good a student is, on texts that it has not seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.models.calibration import expected_calibration_error

_SMALLEST = 1e-12


@dataclass(frozen=True, slots=True)
class ClassAgreement:
    """One class of the teacher's: how many held-out texts it has, and on how many the student agrees."""

    label: str
    examples: int
    agreed: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Held-out figures. Agreement is with the teacher; accuracy with gold labels, None where there are none."""

    examples: int
    agreement: float
    accuracy: float | None
    teacher_accuracy: float | None
    """On the same texts as `accuracy`."""
    nll: float
    """Of the teacher's answer under the student's calibrated distribution, in nats."""
    ece: float
    """Expected calibration error of the confidence as a forecast of agreement."""
    coverage: float
    """Share of texts on which the confidence reaches the task's `min_confidence`."""
    covered_agreement: float
    """Agreement on those; 0 where there are none."""
    classes: tuple[ClassAgreement, ...]

    def metrics(self) -> dict[str, float]:
        """The scalars that there are, under the names of the model card."""
        names = ("agreement", "accuracy", "teacher_accuracy", "nll", "ece", "coverage", "covered_agreement")
        found = {name: getattr(self, name) for name in names}
        return {"examples": float(self.examples)} | {name: value for name, value in found.items() if value is not None}


def evaluate(
    probabilities: NDArray[np.float32],
    answers: NDArray[np.int64],
    gold: NDArray[np.int64],
    names: tuple[str, ...],
    *,
    min_confidence: float,
) -> Evaluation:
    """Judge calibrated distributions, shape (n, k), n > 0, against the teacher's `answers` and the `gold` labels.

    Both have shape (n,); `gold` is -1 where there is none.
    """
    confidence, predicted = probabilities.max(axis=1), probabilities.argmax(axis=1)
    agreed, covered, known = predicted == answers, confidence >= min_confidence, gold >= 0
    per_class = np.bincount(answers, minlength=len(names))
    agreed_per_class = np.bincount(answers[agreed], minlength=len(names))
    assigned = probabilities[np.arange(len(answers)), answers].astype(np.float64)
    return Evaluation(
        examples=len(answers),
        agreement=float(agreed.mean()),
        accuracy=float((predicted[known] == gold[known]).mean()) if known.any() else None,
        teacher_accuracy=float((answers[known] == gold[known]).mean()) if known.any() else None,
        nll=float(-np.log(np.maximum(assigned, _SMALLEST)).mean()),
        ece=expected_calibration_error(confidence, agreed),
        coverage=float(covered.mean()),
        covered_agreement=float(agreed[covered].mean()) if covered.any() else 0.0,
        classes=tuple(
            ClassAgreement(name, int(per_class[i]), int(agreed_per_class[i])) for i, name in enumerate(names)
        ),
    )
