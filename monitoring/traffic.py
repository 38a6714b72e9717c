"""What the last exchanges were, and who answered them: O(1) an exchange, in two generations."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

import msgspec

from core.records import Answerer

_WINDOW = 1000


class Counts(msgspec.Struct):
    """Exchanges of one generation."""

    total: int = 0
    by_teacher: int = 0
    given: dict[str, int] = {}
    """Answered by the student, by its label."""


class Traffic(msgspec.Struct):
    """The last 1000 to 2000 answered exchanges of a task."""

    young: Counts = msgspec.field(default_factory=Counts)
    old: Counts = msgspec.field(default_factory=Counts)

    def add(self, answered_by: Answerer, label: str | None) -> None:
        """Count one answered exchange."""
        counts = self.young
        counts.total += 1
        if answered_by is Answerer.TEACHER:
            counts.by_teacher += 1
        elif label is not None:
            counts.given[label] = counts.given.get(label, 0) + 1
        if counts.total >= _WINDOW:
            self.old, self.young = counts, Counts()

    def share(self, label: str) -> float:
        """Share of exchanges that the student answered with this label."""
        total = self.young.total + self.old.total
        return (self.young.given.get(label, 0) + self.old.given.get(label, 0)) / total if total else 0.0

    def teacher_share(self, without: AbstractSet[str] = frozenset()) -> float:
        """Share that the teacher answers; or would, were the student trusted with none of the labels `without`."""
        total = self.young.total + self.old.total
        if not total:
            return 0.0
        return (self.young.by_teacher + self.old.by_teacher) / total + sum(self.share(label) for label in without)
