"""Traffic for the monitor: exchanges and comparisons as gateway, shadow worker and shipper leave them in the journal.

One task of many classes. The student agrees with its teacher 93 times of 100; the exchanges of which it is unsure are
answered by the teacher, and are comparisons with probability one; of the others 5 % are drawn. Everything is seeded but
the ids.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from core.ids import Minter
from core.journal import Journal, stream_name
from core.labels import LabelSet
from core.records import Answerer, Comparison, Exchange, Kind, Outcome, Reason, StudentAnswer, encode

FLOOR: Final = 0.05
MIN_CONFIDENCE: Final = 0.5
VERSION: Final = "7"
_AGREEMENT: Final = 0.93
_VARIETY: Final = 4096
_TEXT: Final = "where is my parcel it was ordered two weeks ago please refund the amount to my card I am still waiting"


def class_names(classes: int) -> list[str]:
    """Labels of so many classes."""
    return [f"intent_{number:03d}" for number in range(classes)]


@dataclass(slots=True)
class Truth:
    """What was shipped: what a monitor must have counted once it has read everything."""

    exchanges: Counter[str] = field(default_factory=Counter)
    """By who answered."""
    comparisons: int = 0

    @property
    def total(self) -> int:
        """Exchanges."""
        return self.exchanges.total()


class Feed:
    """Ships a task's traffic, with one source whose offsets count its records from 1."""

    def __init__(self, task: str, classes: int, seed: int) -> None:
        self.task = task
        self.truth = Truth()
        self.source = f"log_{task}_{seed}"
        self.shipped = 0
        """Records; the offset behind the last one."""
        self.ends: dict[str, int] = {}
        """By stream, the offset behind its last record."""
        self._ends = [0]
        self._totals = [0]
        self._rng = np.random.default_rng(seed)
        self._minter = Minter()
        self._names = class_names(classes)
        self._answers = self._student_answers(classes)
        self._streams = {kind: stream_name(task, kind) for kind in (Kind.EXCHANGE, Kind.COMPARISON)}

    def exchanges_until(self, offset: int) -> int:
        """How many exchanges were shipped up to the batch that holds this offset, which is one of an exchange."""
        return self._totals[bisect_left(self._ends, offset)]

    async def ship(self, journal: Journal, count: int) -> None:
        """Ship so many exchanges, with the comparisons that belong to them, in one batch."""
        exchanges, comparisons = self._records(count)
        before = self.shipped or None
        batches = {}
        for kind, records in ((Kind.EXCHANGE, exchanges), (Kind.COMPARISON, comparisons)):
            if records:
                batches[self._streams[kind]] = [
                    (self.shipped + number, record) for number, record in enumerate(records, 1)
                ]
                self.shipped += len(records)
                self.ends[self._streams[kind]] = self.shipped
        if await journal.ship(self.source, before, self.shipped, batches) != self.shipped:
            raise RuntimeError("the journal knows this source from before; use another seed or an empty Redis")
        self._ends.append(self.shipped)
        self._totals.append(self.truth.total)

    def _records(self, count: int) -> tuple[list[bytes], list[bytes]]:
        rng, now = self._rng, time.time()
        which = rng.integers(_VARIETY, size=count).tolist()
        drawn = (rng.random(count) < FLOOR).tolist()
        agrees = (rng.random(count) < _AGREEMENT).tolist()
        others = rng.integers(len(self._names), size=count).tolist()
        lengths = rng.integers(20, len(_TEXT), size=count).tolist()
        exchanges, comparisons = [], []
        for i in range(count):
            student = self._answers[which[i]]
            cascaded = student.confidence < MIN_CONFIDENCE
            teacher = student.label if agrees[i] else self._names[others[i]]
            served = Answerer.TEACHER if cascaded else Answerer.STUDENT
            probability = 1.0 if cascaded else FLOOR
            identifier, text = self._minter(now), _TEXT[: lengths[i]]
            exchange = Exchange(
                identifier,
                self.task,
                now,
                served,
                Reason.LOW_CONFIDENCE if cascaded else Reason.CHAMPION,
                200,
                model=self.task,
                version=VERSION,
                template="message",
                text=text,
                output=teacher if cascaded else student.label,
                label=teacher if cascaded else student.label,
                student=student,
                total_ms=1.5,
                upstream_ms=1.0,
                shadow_probability=probability,
                shadow=drawn[i] and not cascaded,
            )
            exchanges.append(encode(exchange))
            self.truth.exchanges[served.value] += 1
            if cascaded or drawn[i]:
                comparisons.append(encode(_comparison(exchange, student, teacher)))
        self.truth.comparisons += len(comparisons)
        return exchanges, comparisons

    def _student_answers(self, classes: int) -> list[StudentAnswer]:
        """Answers with full distributions. Classes are as frequent as in traffic: a few common ones, many rare ones."""
        shares = 1 / np.arange(1, classes + 1) ** 0.7
        labels = self._rng.choice(classes, size=_VARIETY, p=shares / shares.sum())
        confidences = self._rng.beta(5.0, 1.2, size=_VARIETY)
        rest = self._rng.dirichlet(np.full(classes - 1, 0.3), size=_VARIETY)
        label_set = LabelSet(self._names).version
        answers = []
        for label, confidence, others in zip(labels.tolist(), confidences.tolist(), rest, strict=True):
            distribution = np.insert(others * (1 - confidence), label, confidence).astype("<f2")
            answers.append(StudentAnswer(VERSION, self._names[label], confidence, label_set, distribution.tobytes()))
        return answers


def _comparison(exchange: Exchange, student: StudentAnswer, teacher: str) -> Comparison:
    cascaded = exchange.answered_by is Answerer.TEACHER
    return Comparison(
        f"cmp{exchange.id[2:]}",
        exchange.task,
        exchange.id,
        exchange.at,
        exchange.at + 0.5,
        Outcome.CASCADED if cascaded else Outcome.ANSWERED,
        exchange.shadow_probability,
        exchange.answered_by,
        student,
        teacher_label=teacher,
        cluster=exchange.id[-16:],
        text=exchange.text,
    )
