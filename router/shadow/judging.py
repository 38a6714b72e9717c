"""From an exchange, and what the teacher said of it, to a comparison. Pure functions."""

from __future__ import annotations

import time
from dataclasses import dataclass

from core.clusters import cluster_id
from core.errors import BudgetExceededError, TeacherError, TeacherTimeoutError, UnreadableAnswerError
from core.ids import mint
from core.labels import LabelSet
from core.records import Answerer, Comparison, Exchange, Outcome, StudentAnswer
from core.teacher import TeacherAnswer, pack_distribution

_ERROR_CHARACTERS = 300
_GATEWAY_TIMEOUT = 504


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of asking the teacher about one exchange."""

    outcome: Outcome
    label: str | None = None
    distribution: bytes = b""
    cost_usd: float = 0.0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Again:
    """What came of asking the teacher a second time, of an exchange that was drawn for it with `probability`."""

    verdict: Verdict
    probability: float


def is_compared(exchange: Exchange) -> bool:
    """Whether a comparison comes of it: the student was asked, and the teacher was or is to be asked as well."""
    return exchange.student is not None and (exchange.shadow or exchange.answered_by is not Answerer.STUDENT)


def of_cascade(exchange: Exchange) -> Verdict:
    """The verdict on an exchange about which the gateway has asked the teacher already, with probability one.

    Where that came to nothing, or the answer broke off, the outcome says so: otherwise what is missing would not be
    known.
    """
    if exchange.answered_by is Answerer.TEACHER and exchange.complete:
        if exchange.label is not None:
            return Verdict(Outcome.CASCADED, exchange.label, exchange.teacher_distribution)
        return Verdict(Outcome.UNREADABLE, error="the teacher's answer is none of the labels")
    late = exchange.status == _GATEWAY_TIMEOUT
    return Verdict(Outcome.TIMED_OUT if late else Outcome.REFUSED, error=_shortened(exchange.error))


def of_answer(answer: TeacherAnswer, labels: LabelSet, cost_usd: float) -> Verdict:
    """The verdict that a teacher's answer is."""
    if answer.label is None:
        error = "the teacher's answer is none of the labels"
        return Verdict(Outcome.UNREADABLE, cost_usd=cost_usd, error=error)
    packed = pack_distribution(answer.distribution, labels)
    return Verdict(Outcome.ANSWERED, answer.label, packed, cost_usd)


def of_failure(error: TeacherError) -> Verdict:
    """The verdict where the teacher gave no answer."""
    outcomes = {
        BudgetExceededError: Outcome.OVER_BUDGET,
        TeacherTimeoutError: Outcome.TIMED_OUT,
        UnreadableAnswerError: Outcome.UNREADABLE,
    }
    return Verdict(outcomes.get(type(error), Outcome.REFUSED), error=_shortened(error.message))


def comparison_of(
    exchange: Exchange, verdict: Verdict, challenger: StudentAnswer | None = None, again: Again | None = None
) -> Comparison:
    """The record. Raises ValueError for an exchange of which no comparison comes (`is_compared`)."""
    if exchange.student is None:
        raise ValueError(f"the student was not asked about {exchange.id}; there is nothing to compare")
    sampled = exchange.answered_by is Answerer.STUDENT
    return Comparison(
        id=mint("cmp"),
        task=exchange.task,
        exchange=exchange.id,
        at=exchange.at,
        compared_at=time.time(),
        outcome=verdict.outcome,
        probability=exchange.shadow_probability if sampled else 1.0,
        served_by=exchange.answered_by,
        student=exchange.student,
        teacher_label=verdict.label,
        teacher_distribution=verdict.distribution,
        cluster=cluster_id(exchange.text) if exchange.text is not None else "",
        text=exchange.text,
        cost_usd=verdict.cost_usd + (0.0 if again is None else again.verdict.cost_usd),
        error=verdict.error,
        challenger=challenger,
        redacted=exchange.redacted,
        again=None if again is None else again.verdict.outcome,
        again_probability=0.0 if again is None else again.probability,
        teacher_again=None if again is None else again.verdict.label,
    )


def _shortened(text: str) -> str:
    return text if len(text) <= _ERROR_CHARACTERS else text[: _ERROR_CHARACTERS - 1] + "…"
