"""The part of a task's state that feedback moves on: what waits, what was judged, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from hashlib import blake2b
from typing import Final

import msgspec

from core.backoff import doubled
from core.records import Answerer, Exchange, Feedback
from monitoring.feedback.accuracy import Judged, VersionFeedback, known
from monitoring.feedback.answered import Answered
from monitoring.rules import Rules

_WAITING: Final = 5000
_REMEMBERED: Final = 5000
_VERSIONS: Final = 6
_FIRST_PAUSE: Final = 2.0
_LONGEST_PAUSE: Final = 600.0
_CLIENT: Final = "client"


class FeedbackOutcome(StrEnum):
    """What came of a piece of feedback."""

    COUNTED = "counted"
    CORRECTED = "corrected"
    """It took the place of earlier feedback about the same exchange."""
    REPEATED = "repeated"
    """It says what was known, or is older than what counts."""
    REVIEWED = "reviewed"
    """A person's verdict from the review queue, about an exchange without other feedback."""
    UNANSWERED = "unanswered"
    """The client had received no label."""
    LATE = "late"
    """It would correct feedback that is not remembered one by one any more."""
    OUTDATED = "outdated"
    """It is about a version of which no statistics are kept any more."""
    UNMATCHED = "unmatched"
    """No exchange of this id was ever found."""


class Pending(msgspec.Struct):
    """A piece of feedback whose exchange is being looked for."""

    id: str
    exchange: str
    label: str
    at: float
    by_client: bool
    tries: int = 0
    due: float = 0.0
    """When to look for it next, in seconds since the epoch; `looked`: when that was last done, 0 if never."""
    looked: float = 0.0


class FeedbackState(msgspec.Struct):
    """All of a task's feedback. Bounded by the number of classes."""

    waiting: dict[str, Pending] = {}
    """By the feedback's id."""
    young: dict[int, Judged] = {}
    """What was judged, by eight bytes of the hash of the exchange's id; the generation before is `old`."""
    old: dict[int, Judged] = {}
    versions: dict[str, VersionFeedback] = {}
    outcomes: dict[FeedbackOutcome, int] = {}
    last: float = 0.0
    """When the newest feedback was given, in seconds since the epoch."""

    @property
    def is_full(self) -> bool:
        """Whether no more should be read for now: so much waits."""
        return len(self.waiting) >= _WAITING

    def answered(self, exchange: Exchange, rules: Rules) -> None:
        """Count an exchange that somebody answered, so that it is known what share of them gets feedback. O(1)."""
        label = exchange.label
        if label is None:
            return
        student = exchange.student
        name = "" if student is None else student.version
        version = self.versions.get(name) or self._begin(name)
        confidence = None if student is None else student.confidence
        label = label if label in rules.positions else "other"
        version.exposure.answered(exchange.at, exchange.answered_by, label, confidence)
        if exchange.answered_by is Answerer.STUDENT:
            version.given[label] = version.given.get(label, 0) + 1

    def take(self, feedback: Feedback) -> None:
        """Let feedback wait for its exchange."""
        self.last = max(self.last, feedback.at)
        self.waiting[feedback.id] = Pending(
            feedback.id, feedback.exchange, feedback.label, feedback.at, feedback.source == _CLIENT
        )

    def settle(self, pending: Pending, answered: Answered, before: bool, rules: Rules) -> FeedbackOutcome:
        """Judge the exchange that was found. `before`: older feedback about it was read, as the archive knows."""
        self.waiting.pop(pending.id, None)
        outcome = self._judge(pending, answered, before, rules)
        self._count(outcome)
        return outcome

    def put_off(self, pending: Pending, now: float) -> None:
        """Look again later, after a pause that grows."""
        pending.tries += 1
        pending.due = now + doubled(_FIRST_PAUSE, pending.tries, _LONGEST_PAUSE)

    def miss(self, pending: Pending, began: float, now: float, wait: float) -> None:
        """Nothing was found by the look that `began` then: look again, or give up `wait` seconds after it was given.

        Where there is no room left, what was looked for gives way at once.
        """
        if now - pending.at > wait or self.is_full:
            self.waiting.pop(pending.id, None)
            self._count(FeedbackOutcome.UNMATCHED)
            return
        pending.looked = began
        self.put_off(pending, now)

    def look(self) -> bool:
        """Look whether feedback comes evenly, where it is time; whether it was for any version."""
        return sum(version.exposure.look() for version in self.versions.values()) > 0

    def forget(self, gone: Callable[[str], bool]) -> int:
        """Drop what waits for exchanges that must be forgotten, by the name that it calls them; returns how many."""
        named = [pending.id for pending in self.waiting.values() if gone(pending.exchange)]
        for identifier in named:
            del self.waiting[identifier]
        return len(named)

    def is_judged(self, exchange: str) -> bool:
        """Whether the truth about an exchange, by its own id, counts and is remembered."""
        key = _digest(exchange)
        return key in self.young or key in self.old

    def _judge(self, pending: Pending, answered: Answered, before: bool, rules: Rules) -> FeedbackOutcome:
        key, truth = _digest(answered.exchange), known(pending.label, rules)
        judged = self.young.get(key) or self.old.get(key)
        if judged is not None:
            return self._correct(judged, truth, pending.at)
        if not pending.by_client:
            return FeedbackOutcome.REVIEWED
        if before:
            return FeedbackOutcome.LATE
        if answered.answered_by is Answerer.NOBODY or not answered.label:
            return FeedbackOutcome.UNANSWERED
        version = self.versions.get(answered.version)
        if version is None:
            if len(self.versions) >= _VERSIONS:
                return FeedbackOutcome.OUTDATED
            version = self._begin(answered.version)
        self.young[key] = version.add(answered, truth, pending.at, rules)
        if len(self.young) >= _REMEMBERED:
            self.old, self.young = self.young, {}
        return FeedbackOutcome.COUNTED

    def _correct(self, judged: Judged, truth: str, at: float) -> FeedbackOutcome:
        if at < judged.at or truth == judged.truth:
            judged.at = max(judged.at, at)
            return FeedbackOutcome.REPEATED
        version = self.versions.get(judged.version)
        if version is None:
            return FeedbackOutcome.OUTDATED
        version.correct(judged, truth)
        judged.truth, judged.at = truth, at
        return FeedbackOutcome.CORRECTED

    def _begin(self, name: str) -> VersionFeedback:
        """Statistics for a version; those of the one that answered longest ago make room."""
        if len(self.versions) >= _VERSIONS:
            gone = min(self.versions, key=lambda other: self.versions[other].exposure.last)
            del self.versions[gone]
            for judged in (self.young, self.old):
                for key in [key for key, one in judged.items() if one.version == gone]:
                    del judged[key]  # their numbers mean nothing to statistics that begin anew
        version = self.versions[name] = VersionFeedback()
        return version

    def _count(self, outcome: FeedbackOutcome) -> None:
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1


def _digest(exchange: str) -> int:
    return int.from_bytes(blake2b(exchange.encode(), digest_size=8).digest())
