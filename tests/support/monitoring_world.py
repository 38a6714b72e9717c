"""A task that is watched, and exchanges and comparisons to show it."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from core.ids import mint
from core.ledger import Trust
from core.records import Answerer, Comparison, Exchange, Outcome, Reason, StudentAnswer
from core.settings import TaskSettings

LABELS = [f"c{i}" for i in range(8)]
NOON = 1_750_000_000.0


def task_settings(**watch: Any) -> TaskSettings:
    return TaskSettings.model_validate(
        {
            "labels": LABELS,
            "teacher": {"base_url": "http://127.0.0.1:9/v1", "model": "teacher", "data_may_leave": True},
            "shadow": {"floor": 0.1},
            "watch": {"max_fallback_share": 1.0, "drift_window": 0} | watch,
        }
    )


def trust_rows(version: str = "1", examples: int = 60, agreement: float = 0.93, **changed: bool) -> list[Trust]:
    return [
        Trust("desk", version, label, changed.get(label, True), agreement, examples, "56 of 60", NOON)
        for label in LABELS
    ]


class World:
    """Traffic in which the student agrees as often as one says, class by class."""

    def __init__(self, seed: int = 0, version: str = "1") -> None:
        self.rng = np.random.default_rng(seed)
        self.version = version
        self.agreement = dict.fromkeys(LABELS, 0.93)
        self.untrusted: set[str] = set()
        self.clock = itertools.count(1)

    def answer(self, label: str | None = None) -> StudentAnswer:
        chosen = label or str(self.rng.choice(LABELS))
        return StudentAnswer(self.version, chosen, float(self.rng.uniform(0.6, 1.0)), "set")

    def pair(self, *, drawn: bool | None = None, label: str | None = None) -> tuple[Exchange, Comparison | None]:
        """An exchange, with its comparison where it was drawn or its teacher was asked anyway."""
        student, at = self.answer(label), NOON + next(self.clock)
        cascaded = student.label in self.untrusted
        probability = 1.0 if cascaded else 0.1
        shadow = drawn if drawn is not None else cascaded or bool(self.rng.random() < probability)
        exchange = Exchange(
            mint(),
            "desk",
            at,
            Answerer.TEACHER if cascaded else Answerer.STUDENT,
            Reason.NOT_TRUSTED if cascaded else Reason.CHAMPION,
            200,
            version=self.version,
            text=f"message {at}",
            label=student.label,
            student=student,
            shadow_probability=probability,
            shadow=shadow and not cascaded,
        )
        return exchange, self.comparison(exchange, probability) if shadow else None

    def comparison(self, exchange: Exchange, probability: float) -> Comparison:
        student = exchange.student
        assert student is not None
        agrees = self.rng.random() < self.agreement[student.label]
        others = [label for label in LABELS if label != student.label]
        return Comparison(
            mint("cmp"),
            "desk",
            exchange.id,
            exchange.at,
            exchange.at + 1,
            Outcome.CASCADED if exchange.answered_by is Answerer.TEACHER else Outcome.ANSWERED,
            probability,
            exchange.answered_by,
            student,
            teacher_label=student.label if agrees else str(self.rng.choice(others)),
            text=exchange.text,
        )
