"""What is kept of an exchange to be compared: numbers, a vector, hashes. The text itself only where it is an example.

Worked out when an exchange enters a sample, which few do where traffic is heavy (about 100 µs each), so that neither
texts nor distributions need to be kept until a window is full.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from core.clusters import cluster_id
from core.records import Exchange, StudentAnswer
from monitoring.drift.rules import DriftRules
from monitoring.drift.texts import shape, unknown_share, word_hashes

_TOP: Final = 16
_CLUSTER_CHARACTERS: Final = 1000
_EXAMPLE_CHARACTERS: Final = 300
_NEAR: Final = 40  # rows
_LEAST: Final = 1e-7


class Row(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One exchange. What is not known, or may not be kept, is None or empty."""

    exchange: str
    at: float
    label: str
    """The student's; `other` where it is none of the task's."""
    confidence: float
    entropy: float | None = None
    """Of the student's distribution, in nats."""
    length: int | None = None
    words: int | None = None
    non_letters: float | None = None
    oov: float | None = None
    """Share of words that the reference's vocabulary does not hold."""
    cluster: str = ""
    vector: bytes = b""
    """As in `StudentAnswer`."""
    top: bytes = b""
    """The largest probabilities of the distribution: uint16 positions, then as many float16."""
    hashes: bytes = b""
    """Of its words, until the reference's vocabulary is fixed."""
    text: str = ""
    """The beginning, where the student was unsure."""


def row_of(exchange: Exchange, student: StudentAnswer, rules: DriftRules, vocabulary: bytes | None) -> Row:
    """The row of an exchange that the student read. `vocabulary` None: not fixed yet."""
    text = exchange.text if rules.keep_text else None
    length = words = non_letters = oov = None
    cluster, hashes = exchange.text_hash, b""
    if text is not None:
        length, words, non_letters = shape(text)
        cluster, hashes = cluster_id(text[:_CLUSTER_CHARACTERS]), word_hashes(text)
        if vocabulary is not None:
            oov, hashes = unknown_share(hashes, vocabulary), b""
    unsure = student.confidence < rules.min_confidence
    entropy, top = _spread(student, rules)
    return Row(
        exchange=exchange.id,
        at=exchange.at,
        label=student.label if student.label in rules.positions else "other",
        confidence=student.confidence,
        entropy=entropy,
        length=length,
        words=words,
        non_letters=non_letters,
        oov=oov,
        cluster=cluster,
        vector=student.vector if rules.keep_text else b"",
        top=top,
        hashes=hashes,
        text=text[:_EXAMPLE_CHARACTERS] if unsure and text is not None else "",
    )


def _spread(student: StudentAnswer, rules: DriftRules) -> tuple[float | None, bytes]:
    """Entropy and largest probabilities of a distribution over the task's labels."""
    if len(student.distribution) != 2 * len(rules.positions):
        return None, b""
    p = np.frombuffer(student.distribution, dtype="<f2").astype(np.float64)
    p = np.maximum(p / max(p.sum(), _LEAST), _LEAST)
    entropy = float(-(p * np.log(p)).sum())
    if student.label_set != rules.label_set:
        return entropy, b""
    at = np.argpartition(p, -_TOP)[-_TOP:] if len(p) > _TOP else np.arange(len(p))
    return entropy, at.astype("<u2").tobytes() + p[at].astype("<f2").tobytes()


def distributions(rows: Sequence[Row], labels: int) -> NDArray[np.float32]:
    """Distributions of the rows that have one, shape (n, labels); what was left out is spread over the other labels."""
    tops = [row.top for row in rows if row.top]
    dense = np.zeros((len(tops), labels), dtype=np.float32)
    for into, top in zip(dense, tops, strict=True):
        half = len(top) // 2
        into[np.frombuffer(top[:half], dtype="<u2")] = np.frombuffer(top[half:], dtype="<f2")
    if labels > _TOP:
        left = np.maximum(1 - dense.sum(axis=1, keepdims=True), 0)
        dense = np.where(dense > 0, dense, left / (labels - _TOP))
    return np.asarray(dense / np.maximum(dense.sum(axis=1, keepdims=True), _LEAST), dtype=np.float32)


def without_bursts(rows: Sequence[Row]) -> list[Row]:
    """Leave out rows of whose cluster there is another among the 40 before, in order of time.

    The rows are taken as a ring, so that how many go does not depend on how many there are: a question that is asked
    again and again goes as often from the reference as from a window. Where none would be left, the first row is.
    """
    ordered = sorted(rows, key=lambda row: (row.at, row.exchange))
    last = {row.cluster: i - len(ordered) for i, row in enumerate(ordered)}
    kept = []
    for i, row in enumerate(ordered):
        if not row.cluster or i - last[row.cluster] > _NEAR:
            kept.append(row)
        last[row.cluster] = i
    return kept or ordered[:1]


def forgotten(rows: Sequence[Row], gone: Callable[[str], bool]) -> tuple[list[Row], int]:
    """The rows, without what could tell of the content of exchanges that are `gone`; and how many these were."""
    kept = [row if _is_bare(row) or not gone(row.exchange) else _bare(row) for row in rows]
    return kept, sum(a is not b for a, b in zip(kept, rows, strict=True))


def _is_bare(row: Row) -> bool:
    return not (row.vector or row.hashes or row.text or row.cluster or row.top)


def _bare(row: Row) -> Row:
    return msgspec.structs.replace(row, cluster="", vector=b"", top=b"", hashes=b"", text="")
