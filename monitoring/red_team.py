"""The red-team list: the teacher's surest answers of each class, for a person to check where nobody disagrees.

A student cannot notice its teacher's confident mistakes; it has learnt them. So of each class a few of the answers that
the teacher was sure of, and the student (where there is one) gave as well, are drawn at random: at random, so that the
share which turns out to be wrong is an estimate, with an interval, for all of them. Near-duplicates count once.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from core.archive import Archive
from core.clusters import cluster_id
from core.ids import mint
from core.ledger import Ledger, Review, Why
from core.records import Answerer, Kind
from monitoring.confident_wrongness import confidence_in
from monitoring.rules import Rules

_ROWS: Final = 50_000
_COMPARED: Final = """
    SELECT exchange, text, cluster, teacher_label AS label, teacher_distribution AS distribution,
           student_version AS version, student_label AS student, student_confidence AS confidence
    FROM records WHERE teacher_label = student_label AND octet_length(teacher_distribution) > 0 AND text IS NOT NULL
    ORDER BY "at" DESC LIMIT ?
"""
_ANSWERED: Final = """
    SELECT id AS exchange, text, '' AS cluster, label, teacher_distribution AS distribution,
           '' AS version, '' AS student, 0.0 AS confidence
    FROM records WHERE answered_by = ? AND student_label IS NULL AND label IS NOT NULL
                       AND octet_length(teacher_distribution) > 0 AND text IS NOT NULL
    ORDER BY "at" DESC LIMIT ?
"""


@dataclass(frozen=True, slots=True)
class Pool:
    """The teacher's sure answers among which one may draw, by class."""

    classes: dict[str, list[Review]]
    answers: int
    """Answers with a distribution that were looked at."""


def find_pool(
    archive: Archive, ledger: Ledger, task: str, rules: Rules, sure: float, now: float, since: float | None = None
) -> Pool:
    """The newest archived answers in which the teacher was at least `sure`, and that no review is about yet.

    `since` and `now` in seconds since the epoch. Raises what the archive and the ledger raise.
    """
    exchanges, clusters = ledger.reviews.known(task)
    classes: dict[str, list[Review]] = defaultdict(list)
    answers = 0
    for row in _rows(archive, task, since):
        answers += 1
        teacher = confidence_in(row["distribution"], row["label"], rules)
        cluster = row["cluster"] or cluster_id(row["text"])
        if teacher is None or teacher < sure or row["exchange"] in exchanges or cluster in clusters:
            continue
        exchanges.add(row["exchange"])
        clusters.add(cluster)
        classes[row["label"]].append(_entry(task, row, teacher, sure, cluster, now))
    return Pool(dict(classes), answers)


def draw(pool: Pool, per_class: int, rng: random.Random) -> list[Review]:
    """`per_class` of each class at random, or all where there are no more, each with its probability of being drawn."""
    drawn: list[Review] = []
    for _, entries in sorted(pool.classes.items()):
        share = min(per_class / len(entries), 1.0)
        chosen = rng.sample(entries, min(per_class, len(entries)))
        drawn += [replace(one, probability=share) for one in chosen]
    return drawn


def _rows(archive: Archive, task: str, since: float | None) -> Iterator[dict[str, Any]]:
    queries: Iterable[tuple[str, Kind, list[Any]]] = (
        (_COMPARED, Kind.COMPARISON, [_ROWS]),
        (_ANSWERED, Kind.EXCHANGE, [Answerer.TEACHER.value, _ROWS]),
    )
    for sql, kind, parameters in queries:
        for batch in archive.query(sql, task, kind, parameters, since).to_batches(max_chunksize=1000):
            yield from batch.to_pylist()


def _entry(task: str, row: dict[str, Any], teacher: float, sure: float, cluster: str, now: float) -> Review:
    return Review(
        id=mint("rv"),
        task=task,
        exchange=row["exchange"],
        why=Why.RED_TEAM,
        version=row["version"],
        student=row["student"],
        teacher=row["label"],
        confidence=row["confidence"],
        teacher_confidence=teacher,
        probability=0.0,
        drawn_from=sure,
        cluster=cluster,
        text=row["text"],
        created=now,
    )
