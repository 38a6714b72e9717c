"""What the archive knows of a task's traffic: texts that the teacher has answered, and texts that it has not.

Comparisons come first: they hold the teacher's distribution and the probability with which they were drawn. Exchanges
that the teacher answered by itself, with no student's answer beside it, hold its label alone, which teaches as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from core.archive import Archive
from core.labels import LabelSet, unpack_floats
from core.records import Answerer, Kind, Outcome
from training.examples import Example

_NEGLIGIBLE: Final = 1e-6

_COMPARED: Final = """
    SELECT exchange, epoch("at") AS at_seconds, outcome, probability, text, student_label_set, student_confidence,
        teacher_label, teacher_distribution, redacted
    FROM records
    WHERE teacher_label IS NOT NULL AND text IS NOT NULL AND outcome IN (?, ?)
    ORDER BY "at" DESC, exchange DESC LIMIT ?
"""

_EXCHANGED: Final = """
    SELECT id, epoch("at") AS at_seconds, answered_by, text, label, student_label, redacted
    FROM records
    WHERE text IS NOT NULL AND status = 200
        AND ((answered_by = ? AND label IS NOT NULL) OR ("at" >= to_timestamp(?) AND student_label IS NOT NULL))
    ORDER BY "at" DESC, id DESC LIMIT ?
"""


class Sample(msgspec.Struct, frozen=True, omit_defaults=True):
    """An example with what a run knows of it; one line of its data file."""

    example: Example
    exchange: str = ""
    """Empty where it is not from traffic."""
    at: float = 0.0
    """When it was asked, in seconds since the epoch; 0 where it is not from traffic."""
    probability: float = 1.0
    """With which it was drawn from traffic."""
    recent: bool = False
    part: str = "train"
    """`train`, `calibration` or `holdout`."""
    gate: bool = False
    """Whether the gates compare the candidate with the champion on it: the first of its cluster in the hold-out."""
    redacted: bool = False
    """Whether the text is not the one that the teacher has read."""


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A text from traffic that the teacher has not been asked about."""

    exchange: str
    at: float
    text: str
    student_label: str


@dataclass(frozen=True, slots=True)
class Traffic:
    """A task's archived traffic, the newest first."""

    answered: list[Sample]
    unanswered: list[Unanswered]
    """Recent ones only."""
    foreign: int
    """Answers left out, since the task no longer has their label."""

    def without(self, gone: Callable[[str], bool]) -> Traffic:
        """The traffic without exchanges that must not be used, by their ids."""
        return Traffic(
            [sample for sample in self.answered if not gone(sample.exchange)],
            [one for one in self.unanswered if not gone(one.exchange)],
            self.foreign,
        )


def read_traffic(archive: Archive, task: str, labels: LabelSet, *, recent_since: float, limit: int) -> Traffic:
    """Read the newest `limit` comparisons and the newest `limit` exchanges of interest.

    An exchange counts once, however often it was written.
    """
    answered: dict[str, Sample] = {}
    foreign: set[str] = set()
    kinds = [Outcome.ANSWERED.value, Outcome.CASCADED.value, limit]
    for row in archive.query(_COMPARED, task, Kind.COMPARISON, kinds).to_pylist():
        if row["teacher_label"] not in labels:
            foreign.add(row["exchange"])
        else:
            answered.setdefault(row["exchange"], _compared(row, labels))
    unanswered: dict[str, Unanswered] = {}
    wanted = [Answerer.TEACHER.value, recent_since, limit]
    for row in archive.query(_EXCHANGED, task, Kind.EXCHANGE, wanted).to_pylist():
        identifier = row["id"]
        if identifier in answered or identifier in foreign:
            continue
        if row["answered_by"] == Answerer.TEACHER.value and row["label"] is not None:
            if row["label"] in labels:
                answered[identifier] = _answered(row)
            else:
                foreign.add(identifier)
        elif row["at_seconds"] >= recent_since:
            unanswered[identifier] = Unanswered(identifier, row["at_seconds"], row["text"], row["student_label"])
    newest = sorted(answered.values(), key=lambda sample: (-sample.at, sample.exchange))
    return Traffic(newest, list(unanswered.values()), len(foreign))


def _compared(row: dict[str, Any], labels: LabelSet) -> Sample:
    spread = _distribution(row["teacher_distribution"], row["student_label_set"], labels)
    example = Example(
        row["text"],
        teacher=row["teacher_label"],
        distribution=spread,
        method="distribution" if spread else "vote",
        source="cascade" if row["outcome"] == Outcome.CASCADED.value else "shadow",
    )
    redacted = bool(row["redacted"])
    return Sample(example, row["exchange"], row["at_seconds"], row["probability"], redacted=redacted)


def _answered(row: dict[str, Any]) -> Sample:
    example = Example(row["text"], teacher=row["label"], method="vote", source="teacher")
    return Sample(example, row["id"], row["at_seconds"], redacted=bool(row["redacted"]))


def _distribution(packed: bytes | None, label_set: str | None, labels: LabelSet) -> dict[str, float]:
    """The teacher's distribution, where there is one over today's labels."""
    if not packed or label_set != labels.version or len(packed) != 2 * len(labels):
        return {}
    values = zip(labels.names, unpack_floats(packed), strict=True)
    return {name: float(f"{p:.5g}") for name, p in values if p >= _NEGLIGIBLE}
