"""What feedback needs to know of an exchange, and the exchanges of late."""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec

from core.records import Answerer, Exchange
from monitoring.rules import Rules

_REMEMBERED: Final = 10_000
_FLOAT16: Final = struct.Struct("<e")


class Answered(msgspec.Struct, frozen=True, gc=False):
    """An exchange, as far as feedback about it is concerned."""

    exchange: str
    """Its own id, by whichever name the feedback called it."""
    at: float
    answered_by: Answerer
    label: str
    """What the client received; empty where that was no label."""
    version: str
    """Of the student that was asked; empty where none was."""
    student_label: str = ""
    confidence: float = 0.0
    """The student's."""
    teacher_confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What the archive knows of some feedback."""

    answered: Mapping[str, Answered] = field(default_factory=dict)
    """Exchanges, by the name by which the feedback called them."""
    before: Collection[str] = frozenset()
    """Ids of exchanges, their own, about which older feedback was read."""


def answered_of(exchange: Exchange, rules: Rules) -> Answered:
    """What an exchange was answered with."""
    student, label = exchange.student, exchange.label or ""
    return Answered(
        exchange.id,
        exchange.at,
        exchange.answered_by,
        label,
        "" if student is None else student.version,
        "" if student is None else student.label,
        0.0 if student is None else student.confidence,
        probability_of(label, exchange.teacher_distribution, rules) if exchange.teacher_distribution else None,
    )


def probability_of(label: str, distribution: bytes, rules: Rules) -> float | None:
    """The probability of a label in a packed distribution over the task's labels; None where it holds none."""
    position = rules.positions.get(label)
    if position is None or len(distribution) < 2 * (position + 1):
        return None
    return float(_FLOAT16.unpack_from(distribution, 2 * position)[0])


class RecentAnswers:
    """The last 10,000 to 20,000 exchanges by their ids, the completions' included. In memory, a few megabytes."""

    def __init__(self, size: int = _REMEMBERED) -> None:
        self._size = size
        self._young: dict[str, Answered] = {}
        self._old: dict[str, Answered] = {}
        self._aliases: dict[str, str] = {}
        """Exchanges by their completions' ids, of `_young`; `_old_aliases` of `_old`."""
        self._old_aliases: dict[str, str] = {}

    def add(self, exchange: Exchange, rules: Rules) -> None:
        """Remember an exchange. O(1)."""
        self._young[exchange.id] = answered_of(exchange, rules)
        if exchange.completion_id:
            self._aliases[exchange.completion_id] = exchange.id
        if len(self._young) >= self._size:
            self._old, self._young = self._young, {}
            self._old_aliases, self._aliases = self._aliases, {}

    def take(self, name: str) -> Answered | None:
        """The exchange of this name, which is forgotten with it: feedback has come, and is remembered elsewhere."""
        own = self._aliases.get(name) or self._old_aliases.get(name) or name
        return self._young.pop(own, None) or self._old.pop(own, None)
