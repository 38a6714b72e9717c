"""One entry of the review queue, and how a bounded queue is chosen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class ReviewState(StrEnum):
    """What has become of an entry."""

    NEW = "new"
    SKIPPED = "skipped"
    JUDGED = "judged"


class Why(StrEnum):
    """Why an answer is to be judged. `RED_TEAM`: drawn at random from the teacher's surest answers."""

    DISAGREEMENT = "disagreement"
    RED_TEAM = "red_team"


class Right(StrEnum):
    """Who was right, once a person has said what is."""

    STUDENT = "student"
    TEACHER = "teacher"
    BOTH = "both"
    NEITHER = "neither"


@dataclass(frozen=True, slots=True)
class Review:
    """One entry of the queue. Times are seconds since the epoch."""

    id: str
    task: str
    exchange: str
    why: Why
    version: str
    """The student's; empty: no student read it."""
    student: str
    """The label that the student gave; empty where none was asked."""
    teacher: str
    confidence: float
    """The student's; 0 where none was asked."""
    teacher_confidence: float | None
    """None: the teacher gave no distribution."""
    probability: float
    """With which it was drawn from those like it; 0: it was not drawn but chosen."""
    drawn_from: float
    """It was drawn from answers of its class in which the teacher was at least so confident; 0: it was not drawn."""
    cluster: str
    """The same for near-duplicates; empty: not known."""
    text: str
    """Empty where it may not be kept."""
    created: float
    state: ReviewState = ReviewState.NEW
    verdict: str = ""
    """The label that a person has given."""
    right: Right | None = None
    actor: str = ""
    note: str = ""
    judged: float | None = None
    feedback: str = ""
    """Id of the feedback that became of it."""
    sequence: int | None = None
    """Place in the outbox."""

    def who_is_right(self, verdict: str, *, both: bool = False) -> Right:
        """Who is, if `verdict` is the truth. `both`: the two labels do equally well."""
        student, teacher = self.student == verdict, self.teacher == verdict
        if both or (student and teacher):
            return Right.BOTH
        return Right.STUDENT if student else Right.TEACHER if teacher else Right.NEITHER


def spread(candidates: Iterable[Review], most: int) -> list[Review]:
    """At most `most` of them, spread over the classes: each one's surest, then each one's second, and so on.

    A class is the student's label. Deterministic: of two that are equally sure, the one that was there first stays.
    """
    ranks: dict[str, int] = {}
    ranked: list[tuple[int, float, float, str, Review]] = []
    for one in sorted(candidates, key=lambda one: (-one.confidence, one.created, one.id)):
        rank = ranks[one.student] = ranks.get(one.student, -1) + 1
        ranked.append((rank, -one.confidence, one.created, one.id, one))
    return [entry[-1] for entry in sorted(ranked, key=lambda entry: entry[:-1])[:most]]
