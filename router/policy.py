"""Who answers: pure functions from facts to a decision with a reason.

`decide` is asked before anyone has answered, `judge` with the student's answer, `after_failure` where the student was
asked and gave none. The order is that of certainty: what the student must not read, cannot answer, may not answer, and
is unsure of.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import Final, Literal, NamedTuple, Protocol

from core.records import Reason, StudentAnswer


class Action(Enum):
    """What to do next."""

    ASK_STUDENT = auto()
    ANSWER_BY_STUDENT = auto()
    ASK_TEACHER = auto()
    REFUSE = auto()
    """Nobody may answer: the budget for falling back is spent."""


class Failure(Enum):
    """Why a student that was asked gave no answer."""

    LATE = auto()
    BROKEN = auto()
    BREAKER_OPEN = auto()


class Decision(NamedTuple):
    """What to do, and why."""

    action: Action
    reason: Reason


class Facts(NamedTuple):
    """What is known before anyone has answered."""

    readable: bool
    """A template of the task fits the request, and it asks for nothing that a classifier cannot do."""
    champion: str | None
    """The version that the student server says it serves."""
    student_up: bool
    answerable: bool = True
    """Students answer at this address at all: they make no embeddings."""
    forced: bool = False
    """The client asked for the teacher by header."""
    canary: bool = False
    """The request falls into the challenger's share."""


class Fallback(Protocol):
    """The budget for letting the teacher answer."""

    @property
    def when_spent(self) -> Literal["student", "refuse"]:
        """What happens where it is spent and the student has answered."""
        ...

    def allows(self, reason: Reason) -> bool:
        """Whether the teacher may answer one more request, for this reason."""
        ...


class Unlimited:
    """The budget of a task that has none."""

    when_spent: Literal["student", "refuse"] = "student"

    def allows(self, reason: Reason) -> bool:  # noqa: ARG002  # the protocol's
        """Always."""
        return True


_FAILURES: Final = {
    Failure.LATE: Reason.OVER_DEADLINE,
    Failure.BROKEN: Reason.RETRY_FALLBACK,
    Failure.BREAKER_OPEN: Reason.BREAKER_OPEN,
}

UNLIMITED: Final = Unlimited()

_TEACHER: Final = {reason: Decision(Action.ASK_TEACHER, reason) for reason in Reason}
_REFUSED: Final = Decision(Action.REFUSE, Reason.FALLBACK_SPENT)
_SPENT: Final = Decision(Action.ANSWER_BY_STUDENT, Reason.FALLBACK_SPENT)
_ASK: Final = {
    False: Decision(Action.ASK_STUDENT, Reason.CHAMPION),
    True: Decision(Action.ASK_STUDENT, Reason.CHALLENGER),
}
_ANSWER: Final = {
    False: Decision(Action.ANSWER_BY_STUDENT, Reason.CHAMPION),
    True: Decision(Action.ANSWER_BY_STUDENT, Reason.CHALLENGER),
}


def decide(facts: Facts, fallback: Fallback = UNLIMITED) -> Decision:
    """Decide whom to ask first."""
    if facts.forced:
        return _by_teacher(Reason.FORCED, fallback)
    if not facts.answerable:
        return _by_teacher(Reason.PASSTHROUGH, fallback)
    if not facts.readable:
        return _by_teacher(Reason.TEMPLATE_MISMATCH, fallback)
    if not facts.student_up:
        return _by_teacher(Reason.STUDENT_UNAVAILABLE, fallback)
    if facts.champion is None:
        return _by_teacher(Reason.NO_STUDENT, fallback)
    return _ASK[facts.canary]


def judge(
    answer: StudentAnswer,
    trusted: Mapping[str, frozenset[str]],
    min_confidence: float,
    *,
    canary: bool = False,
    fallback: Fallback = UNLIMITED,
) -> Decision:
    """Decide whether the student's answer may go out. `trusted` holds, for each version, the labels it may answer."""
    if answer.label not in trusted.get(answer.version, ()):
        reason = Reason.NOT_TRUSTED
    elif answer.confidence < min_confidence:
        reason = Reason.LOW_CONFIDENCE
    else:
        return _ANSWER[canary]
    decision = _by_teacher(reason, fallback)
    return _SPENT if decision is _REFUSED and fallback.when_spent == "student" else decision


def after_failure(failure: Failure, fallback: Fallback = UNLIMITED) -> Decision:
    """Decide what follows a student that was asked and gave no answer."""
    return _by_teacher(_FAILURES[failure], fallback)


def _by_teacher(reason: Reason, fallback: Fallback) -> Decision:
    return _TEACHER[reason] if fallback.allows(reason) else _REFUSED
