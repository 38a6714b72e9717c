"""The window's statistics: those of the monitor itself, begun anew with the window's first exchange.

So they mean what the metrics mean: the same weights, the same bursts left out, the same confidence sequences, which
hold at all times since the window began. Where it began was not chosen by what was seen.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from core.records import Answerer, Comparison, Exchange, Reason, StudentAnswer
from monitoring.report.archived import Archived
from monitoring.report.parts import Disagreement, Estimate
from monitoring.report.window import Window
from monitoring.rules import Rules
from monitoring.statistics.confidence import confidence_sequence
from monitoring.statistics.weights import WeightedMean
from monitoring.version import VersionState, begin

_MOST: Final = 200_000
"""Comparisons and answers of the teacher that are gone through; of more, one exchange in so many."""
_PAGE: Final = 20_000  # of them, about, that are read at once
_DISAGREEMENTS: Final = 10


@dataclass(slots=True)
class Part:
    """A slot of the window."""

    window: Window
    mean: WeightedMean = field(default_factory=WeightedMean)
    """Student agreement of its own comparisons."""
    so_far: Estimate | None = None


@dataclass(slots=True)
class Replay:
    """What came of it."""

    state: VersionState
    parts: list[Part]
    one_in: int
    disagreements: list[Disagreement]


def replay(archived: Archived, version: str, window: Window, seconds: float, rules: Rules) -> Replay:
    """Go through a version's comparisons in order, in slots of so many seconds. Half a minute at most."""
    records = sum(archived.counts())
    one_in = max(math.ceil(records / _MOST), 1)
    state, parts = begin(version, rules, {}), list(_parts(window, seconds))
    worst: list[tuple[float, str, str, str]] = []
    for some in _pages(parts, records // one_in):
        page = Window(some[0].window.began, some[-1].window.ended)
        comparisons = archived.comparisons(page, one_in)
        teachers: list[Exchange | Comparison] = [_teachers(row, version) for row in archived.by_teacher(page, one_in)]
        waiting = deque(heapq.merge(teachers, comparisons, key=lambda one: one.at))
        for part in some:
            _play(state, part, waiting, rules)
            part.so_far = estimate(state.student.whole, rules.interval_error)
        worst = heapq.nlargest(_DISAGREEMENTS, [*worst, *_disagreements(comparisons)])
    found = [Disagreement(exchange, student, teacher, sure) for sure, exchange, student, teacher in worst]
    return Replay(state, parts, one_in, found)


def estimate(mean: WeightedMean | None, error: float) -> Estimate | None:
    """A mean with the limits of its confidence sequence; None without observations."""
    found = None if mean is None else confidence_sequence(mean, error)
    if mean is None or found is None:
        return None
    return Estimate(found.estimate, found.lower, found.upper, mean.count)


def _parts(window: Window, seconds: float) -> Iterator[Part]:
    began = window.began
    while began < window.ended:
        yield Part(Window(began, min(began + seconds, window.ended)))
        began += seconds


def _pages(parts: Sequence[Part], records: int) -> Iterator[Sequence[Part]]:
    """Slots that are read together: few queries, and not too much in memory at once."""
    together = max(len(parts) * _PAGE // max(records, 1), 1)
    for first in range(0, len(parts), together):
        yield parts[first : first + together]


def _play(state: VersionState, part: Part, waiting: deque[Exchange | Comparison], rules: Rules) -> None:
    """Take what belongs to a slot."""
    while waiting and waiting[0].at < part.window.ended:
        record = waiting.popleft()
        if isinstance(record, Exchange):
            state.served_by_teacher(record, rules)
        elif state.observe(record, rules) and record.agrees is not None:
            step = state.trail[-1]
            part.mean.add(step.agrees, step.weight)


def _teachers(row: dict[str, object], version: str) -> Exchange:
    """As much of an exchange that the teacher answered as served agreement needs."""
    label = row["label"]
    student = None if label is None else StudentAnswer(version, str(label), 0.0, "")
    return Exchange(
        str(row["id"]), "", float(str(row["seconds"])), Answerer.TEACHER, Reason.NOT_TRUSTED, 200, student=student
    )


def _disagreements(comparisons: list[Comparison]) -> Iterator[tuple[float, str, str, str]]:
    for one in comparisons:
        if one.agrees is False:
            yield one.student.confidence, one.exchange, one.student.label, one.teacher_label or ""
