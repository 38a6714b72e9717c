"""What really was: every exchange of an archive beside the teacher's answer, which the house knows only of a sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from core.archive import Archive
from core.clusters import cluster_id
from core.ledger import Ledger
from core.models.folder import load_student
from core.records import Answerer, Kind, Outcome
from core.settings import Settings
from training.taught import read_taught

_BATCH: Final = 256

_ROWS: Final = """
    SELECT id, epoch("at") AS at_seconds, answered_by, text, label, student_label, student_version
    FROM records ORDER BY "at", id
"""

_CALLS: Final = 'SELECT DISTINCT exchange, epoch("at") AS at_seconds FROM records WHERE outcome = ?'


@dataclass(frozen=True, slots=True)
class Judged:
    """One exchange."""

    at: float
    """Seconds since the epoch."""
    by_teacher: bool
    version: str
    """Of the student that was asked; empty where none was."""
    student_agrees: bool
    served_agrees: bool
    taught: bool
    """Whether that version had been taught a near-duplicate of the text."""


@dataclass(frozen=True, slots=True)
class Span:
    """Some of the exchanges. Agreements are exact: shares of all of them."""

    exchanges: int
    student: float
    """Of those whose text the student had not been taught."""
    served: float
    by_teacher: float
    """Share that the teacher answered."""
    shadow_calls: int


@dataclass(frozen=True, slots=True)
class Truth:
    """All exchanges, in order of time, and when the shadow worker's calls were drawn."""

    exchanges: Sequence[Judged]
    shadowed_at: Sequence[float]

    def span(self, begin: float, end: float = float("inf"), keep: Callable[[Judged], bool] = lambda _: True) -> Span:
        """The exchanges from `begin` until before `end` (seconds since the epoch) that are to be kept."""
        chosen = [one for one in self.exchanges if begin <= one.at < end and keep(one)]
        asked = [one for one in chosen if one.version and not one.taught]
        return Span(
            exchanges=len(chosen),
            student=_share([one.student_agrees for one in asked]),
            served=_share([one.served_agrees for one in chosen]),
            by_teacher=_share([one.by_teacher for one in chosen]),
            shadow_calls=sum(begin <= at < end for at in self.shadowed_at),
        )


def read_truth(settings: Settings, ledger: Ledger, task: str) -> Truth:
    """Ask the teacher that the house has fitted about every archived text."""
    archive = Archive(settings.archive_url, ledger)
    rows = archive.query(_ROWS, task).to_pylist()
    calls = archive.query(_CALLS, task, Kind.COMPARISON, [Outcome.ANSWERED.value]).column("at_seconds").to_pylist()
    answers = ask_teacher(settings, task, [row["text"] for row in rows])
    taught = {
        version: read_taught(settings.students_folder / task / version) or frozenset()
        for version in {row["student_version"] for row in rows if row["student_version"]}
    }
    clusters = {text: bytes.fromhex(cluster_id(text)) for text in answers}
    judged = [
        Judged(
            at=row["at_seconds"],
            by_teacher=row["answered_by"] == Answerer.TEACHER.value,
            version=row["student_version"] or "",
            student_agrees=row["student_label"] == answers[row["text"]],
            served_agrees=row["label"] == answers[row["text"]],
            taught=clusters[row["text"]] in taught.get(row["student_version"] or "", frozenset()),
        )
        for row in rows
    ]
    return Truth(judged, calls)


def ask_teacher(settings: Settings, task: str, texts: Sequence[str]) -> Mapping[str, str]:
    """The teacher's label of each text, from the folder that the house has fitted."""
    (folder,) = (settings.state / "teachers").glob(f"{task}-*")
    teacher, unique = load_student(folder), list(dict.fromkeys(texts))
    found: dict[str, str] = {}
    for start in range(0, len(unique), _BATCH):
        batch = unique[start : start + _BATCH]
        positions = teacher.predict(batch).probabilities.argmax(axis=1)
        found |= {text: teacher.labels.names[at] for text, at in zip(batch, positions, strict=True)}
    return found


def _share(values: Sequence[bool]) -> float:
    return sum(values) / len(values) if values else float("nan")
