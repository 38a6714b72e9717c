"""Which labels come at which hours of the week: what a Monday morning is compared with, once it is known.

It learns from calm windows until these span some weeks, and is frozen then. The week has 42 slots of four hours (UTC),
so that a task of 335 classes keeps some ten thousand small numbers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from monitoring.drift.rows import Row

_SLOT: Final = 4 * 3600.0
_SLOTS: Final = 42


class Season(msgspec.Struct):
    """Counts of labels by slot of the week."""

    hours: dict[int, dict[str, int]] = {}
    began: float = 0.0
    ended: float = 0.0

    def is_known(self, span: float) -> bool:
        """Whether what was learnt spans `span` seconds."""
        return self.ended - self.began >= span > 0

    def learn(self, hours: dict[int, dict[str, int]], began: float, ended: float, span: float) -> None:
        """Take a calm window's counts, unless all is known."""
        if self.is_known(span) or not span:
            return
        self.began, self.ended = self.began or began, max(self.ended, ended)
        for slot, labels in hours.items():
            known = self.hours.setdefault(slot, {})
            for label, count in labels.items():
                known[label] = known.get(label, 0) + count


def slot_of(at: float) -> int:
    """The slot of the week in which a time (seconds since the epoch) lies."""
    return int(at // _SLOT) % _SLOTS


def count_by_slot(rows: Iterable[Row]) -> dict[int, dict[str, int]]:
    """Counts of labels by slot."""
    hours: dict[int, dict[str, int]] = {}
    for row in rows:
        labels = hours.setdefault(slot_of(row.at), {})
        labels[row.label] = labels.get(row.label, 0) + 1
    return hours
