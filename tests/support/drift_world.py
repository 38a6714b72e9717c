"""Exchanges whose inputs do not change, or do, without a student: labels, confidences, vectors and texts by seed."""

from __future__ import annotations

from typing import Any

import numpy as np

from core.labels import LabelSet, pack_floats
from core.records import Answerer, Exchange, Reason, StudentAnswer
from core.settings import TaskSettings
from monitoring.drift.rules import DriftRules, drift_rules_of

NOON = 1_750_000_000.0
_WORDS = [f"{a}{b}{c}" for a in "bdfgk" for b in ("al", "or", "in", "et") for c in ("us", "am", "ipo", "erto", "ell")]


def drift_settings(classes: int, **watch: Any) -> TaskSettings:
    """A task of so many classes whose windows need no time."""
    return TaskSettings.model_validate(
        {
            "labels": [f"c{i}" for i in range(classes)],
            "teacher": {"base_url": "http://127.0.0.1:9/v1", "model": "teacher"},
            "watch": {"drift_window": 300, "drift_window_minutes": 0, "drift_reference_hours": 0} | watch,
        }
    )


class Inputs:
    """Draws exchanges. Every attribute may be changed to have some drift."""

    def __init__(self, classes: int, seed: int = 0, **watch: Any) -> None:
        self.rng = np.random.default_rng(seed)
        self.settings = drift_settings(classes, **watch)
        self.rules: DriftRules = drift_rules_of(self.settings)
        self.labels = LabelSet(self.settings.labels)
        self.weights = np.arange(1, classes + 1, dtype=float)
        self.centres = np.random.default_rng(1).standard_normal((classes, 16)) * 3
        self.sure = 8.0
        """Of the confidence's beta distribution; lower is less sure."""
        self.foreign = 0.0
        """Share of inputs of a class that is not known: unsure, alike, with a label at random."""
        self.strange_words = 0.0
        self.spread = 1.0
        """Of the vectors around their class."""
        self.at = NOON
        self.pace = 1.0
        self.version = "1"
        self.number = 0

    def exchange(self) -> Exchange:
        """The next one."""
        self.number += 1
        self.at += self.pace
        rng, foreign = self.rng, bool(self.rng.random() < self.foreign)
        label = int(rng.choice(len(self.weights), p=self.weights / self.weights.sum()))
        confidence = float(rng.uniform(0.2, 0.45) if foreign else rng.beta(self.sure, 1))
        k = len(self.labels)
        rest = rng.dirichlet(np.ones(k)) * (1 - confidence)
        rest[label] += confidence
        centre = np.full(16, 4.0) if foreign else self.centres[label]
        vector = centre + self.spread * rng.standard_normal(16)
        words = [
            f"zz{rng.integers(1000)}x".translate(str.maketrans("0123456789", "qwertyuiop"))
            if rng.random() < self.strange_words
            else str(rng.choice(_WORDS))
            for _ in range(int(rng.integers(3, 12)))
        ]
        student = StudentAnswer(
            self.version,
            self.labels.names[label],
            confidence,
            self.labels.version,
            pack_floats(rest.tolist()),
            pack_floats(vector.tolist()),
        )
        return Exchange(
            f"ex_{self.number:08d}_{rng.integers(1 << 30)}",
            "desk",
            self.at,
            Answerer.STUDENT,
            Reason.CHAMPION,
            200,
            text=" ".join(words),
            student=student,
        )
