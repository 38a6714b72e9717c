"""What the advice rests on: a task as its owner describes it, and what its traffic has shown."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from core.settings import RetrainSettings
from monitoring.power import DAYS_A_MONTH
from monitoring.statistics.confidence import Interval
from training.economics import Case, break_even

ENOUGH_A_CLASS: Final = 100
"""People's labels of each class with which the teacher's add little: docs/economics.md has the measurement."""
ENOUGH_OF_TEXT: Final = 1_000
"""The same in all, where there are no classes."""
NARROW: Final = 0.9
"""Where the ten commonest outputs are so much of all, an open question is a choice among few."""
HOSTED_MS: Final = 500.0
"""What an answer of a hosted model takes, as long as nobody has measured it."""
_RELEARN: Final = 2 * RetrainSettings().recent_texts
"""Queries from one change to the next with which a student is up to date at least half of the time."""


class Kind(StrEnum):
    """What the job is: one of some labels, values chosen from fixed ones, or open text."""

    CLASSIFICATION = "classification"
    EXTRACTION = "extraction"
    GENERATION = "generation"


class Privacy(StrEnum):
    """Where the data may go: to the teacher for labels and comparisons too, in clients' own requests alone, nowhere."""

    TEACHER = "teacher"
    REQUESTS = "requests"
    HOUSE = "house"


class Drift(StrEnum):
    """How often the job changes so much that what was learnt no longer fits."""

    YEARLY = "yearly"
    MONTHLY = "monthly"
    WEEKLY = "weekly"
    DAILY = "daily"

    @property
    def months(self) -> float:
        """From one change to the next."""
        return {"yearly": 12.0, "monthly": 1.0, "weekly": 7 / DAYS_A_MONTH, "daily": 1 / DAYS_A_MONTH}[self.value]


class Tried(StrEnum):
    """What came of a smaller hosted model under a prompt made for it."""

    NO = "no"
    GOOD = "good"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Seen:
    """What traffic has shown. None: nothing yet."""

    outputs: int | None = None
    """Different answers of the teacher."""
    repeated: float | None = None
    """Share that the ten commonest of them have."""
    agreement: Interval | None = None
    """How often the student agrees with the teacher; `served`: how much of what clients received does."""
    served: Interval | None = None
    ceiling: Interval | None = None
    """How often the teacher agrees with itself."""
    teacher_ms: float | None = None
    """Median time of its answers."""


@dataclass(frozen=True, slots=True)
class Facts:
    """One task, ready to be judged."""

    kind: Kind
    classes: int | None
    quality: float
    """Share of the answers that must be as good as the teacher's."""
    may_train: bool
    privacy: Privacy
    latency_ms: float
    """The longest that an answer may take in the median; 0: it does not matter."""
    drift: Drift
    labelled: int
    """Examples that people have labelled."""
    tried: Tried
    distilled: Case
    """The books of a student of our own."""
    smaller: Case | None
    """Those of the smaller hosted model, without a teacher beside it; None: no other model is known."""
    seen: Seen = Seen()

    @property
    def is_open(self) -> bool:
        """Whether the answers are open text, and no few of them make up most."""
        return self.kind is Kind.GENERATION and (self.seen.repeated is None or self.seen.repeated < NARROW)

    @property
    def labels_needed(self) -> int:
        """People's labels with which a model is fine-tuned directly."""
        return ENOUGH_OF_TEXT if self.classes is None else ENOUGH_A_CLASS * self.classes

    @property
    def labels_suffice(self) -> bool:
        """Whether there are so many."""
        return self.labelled >= self.labels_needed

    @property
    def smaller_usd(self) -> float:
        """What the smaller model would save a month, in dollars; 0 where there is none, or it costs more."""
        return 0.0 if self.smaller is None else max(break_even(self.smaller.books()).saving_usd, 0.0)

    @property
    def smaller_may_do(self) -> bool:
        """Whether the smaller model is an answer: it saves, and nobody has found it wanting."""
        return self.smaller_usd > 0 and self.tried is not Tried.BAD

    @property
    def hosted_ms(self) -> float:
        """What a hosted model's answer takes."""
        return HOSTED_MS if self.seen.teacher_ms is None else self.seen.teacher_ms

    @property
    def is_urgent(self) -> bool:
        """Whether hosted models are too slow."""
        return 0 < self.latency_ms < self.hosted_ms

    @property
    def queries_between_changes(self) -> float:
        """Queries from one change of the job to the next."""
        return self.distilled.queries.value * self.drift.months

    @property
    def changes_too_fast(self) -> bool:
        """Whether a student would be out of date most of the time, having seen too little of the new."""
        return self.queries_between_changes < _RELEARN


def most_fallback(agreement: float, quality: float) -> float:
    """The share that the teacher must answer at most for answers to be as its own in the share `quality`.

    Were the exchanges for the teacher drawn blindly, f + (1 - f) a of what clients receive would agree; solved for f.
    Chosen by confidence, as they are, fewer do.
    """
    return 0.0 if agreement >= quality else (quality - agreement) / (1 - agreement)
