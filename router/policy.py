"""Who answers: one pure function from facts to a decision with a reason."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from core.records import Reason, StudentAnswer


class Action(Enum):
    """What to do next."""

    ASK_STUDENT = auto()
    ANSWER_BY_STUDENT = auto()
    ASK_TEACHER = auto()


@dataclass(frozen=True, slots=True)
class Facts:
    """All that the decision depends on."""

    readable: bool
    """A template of the task fits the request, and it asks for nothing that a classifier cannot do."""
    champion: str | None
    """The version that the student server says it serves."""
    student_up: bool
    trusted: dict[str, frozenset[str]]
    """For each version, the labels that it may answer."""
    min_confidence: float
    force_teacher: bool = False
    """The client asked for the teacher by header."""
    answer: StudentAnswer | None = None
    """The student's answer, once it was asked."""
    student_failed: bool = False
    """The student was asked and failed."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, and why."""

    action: Action
    reason: Reason


def decide(facts: Facts) -> Decision:
    """Decide who answers. Called before the student is asked, and again with its answer.

    The order is that of certainty: what the student must not read, cannot answer, may not answer, and is unsure of.
    """
    if facts.force_teacher:
        return Decision(Action.ASK_TEACHER, Reason.FORCED)
    if not facts.readable:
        return Decision(Action.ASK_TEACHER, Reason.TEMPLATE_MISMATCH)
    if facts.student_failed:
        return Decision(Action.ASK_TEACHER, Reason.RETRY_FALLBACK)
    if facts.answer is not None:
        return _judge(facts.answer, facts)
    if not facts.student_up:
        return Decision(Action.ASK_TEACHER, Reason.STUDENT_UNAVAILABLE)
    if facts.champion is None:
        return Decision(Action.ASK_TEACHER, Reason.NO_STUDENT)
    return Decision(Action.ASK_STUDENT, Reason.CHAMPION)


def _judge(answer: StudentAnswer, facts: Facts) -> Decision:
    if answer.label not in facts.trusted.get(answer.version, frozenset()):
        return Decision(Action.ASK_TEACHER, Reason.NOT_TRUSTED)
    if answer.confidence < facts.min_confidence:
        return Decision(Action.ASK_TEACHER, Reason.LOW_CONFIDENCE)
    return Decision(Action.ANSWER_BY_STUDENT, Reason.CHAMPION)
