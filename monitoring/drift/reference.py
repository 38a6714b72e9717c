"""The reference: what the version was asked at first. Frozen as a whole, and never moved again.

A third of it is not compared: from it the vocabulary, the width of the kernel and the like are taken. Had these been
taken from what is compared, no word of the reference would be unknown, and every window would look new.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from monitoring.drift.embeddings import median_distance, vectors_of
from monitoring.drift.rows import Row, distributions, forgotten, without_bursts
from monitoring.drift.rules import DriftRules
from monitoring.drift.season import count_by_slot
from monitoring.drift.texts import unknown_share, vocabulary_of

PARTS: Final = 3
"""A reference is gathered from so many windows' worth of exchanges; one of them is not compared."""
_REPLICATES: Final = 100


class Reference(msgspec.Struct):
    """What a version's windows are compared with."""

    version: str
    began: float
    ended: float
    rows: list[Row]
    """To be compared, in order of time."""
    vocabulary: bytes
    """See `texts.vocabulary_of`."""
    width: float
    """Of the kernel; 0: without vectors."""
    asked: int
    """Exchanges in this time that the student could read, and `mismatched` that matched no template."""
    mismatched: int
    leaves_out_bursts: bool
    """False: most inputs are near-duplicates of one another, as where only numbers differ; then all of them count."""
    prior: bytes
    """Mean of the distributions, one float32 a label: how often each class came, as the student has it; then the same
    of 100 bootstrap samples. Empty: distributions were not kept."""
    hours: dict[int, dict[str, int]]

    def counted(self, rows: Sequence[Row]) -> list[Row]:
        """The rows of a window that count: bursts of near-duplicates count as one."""
        return without_bursts(rows) if self.leaves_out_bursts else list(rows)

    def priors(self, labels: int) -> NDArray[np.float32] | None:
        """Shape (101, labels): the mean, and the bootstrap's."""
        found = np.frombuffer(self.prior, dtype="<f4")
        return found.reshape(-1, labels) if len(found) and len(found) % labels == 0 else None

    def forget(self, gone: Callable[[str], bool]) -> int:
        """Drop what could tell of the content of exchanges; returns of how many."""
        self.rows, count = forgotten(self.rows, gone)
        return count


def freeze(version: str, rows: list[Row], asked: int, mismatched: int, rules: DriftRules) -> Reference:
    """The reference of a version, from a sample of its first exchanges. Takes some 0.1 seconds, once a version."""
    ordered = sorted(rows, key=lambda row: (row.at, row.exchange))
    kept = without_bursts(ordered)
    leaves_out_bursts = len(kept) >= len(ordered) / 2
    kept = kept if leaves_out_bursts else ordered
    fitting = kept[::PARTS]
    compared = [row for i, row in enumerate(kept) if i % PARTS]
    vocabulary = vocabulary_of(row.hashes for row in fitting)
    vectors = vectors_of(fitting)
    return Reference(
        version=version,
        began=kept[0].at,
        ended=kept[-1].at,
        rows=[_frozen(row, vocabulary) for row in compared],
        vocabulary=vocabulary,
        width=median_distance(vectors) if vectors is not None else 0.0,
        asked=asked,
        mismatched=mismatched,
        leaves_out_bursts=leaves_out_bursts,
        prior=_prior(compared, len(rules.positions)),
        hours=count_by_slot(compared),
    )


def _frozen(row: Row, vocabulary: bytes) -> Row:
    oov = unknown_share(row.hashes, vocabulary) if row.words is not None else None
    return msgspec.structs.replace(row, oov=oov, hashes=b"", top=b"", cluster="", text="")


def _prior(rows: list[Row], labels: int) -> bytes:
    """The mean distribution and its bootstrap, see `Reference.prior`."""
    dense = distributions(rows, labels)
    if len(dense) < len(rows) / 2:
        return b""
    rng = np.random.default_rng(0)
    counts = rng.multinomial(len(dense), np.full(len(dense), 1 / len(dense)), size=_REPLICATES)
    weights = np.concatenate([np.ones((1, len(dense))), counts]).astype(np.float32) / len(dense)
    return (weights @ dense).astype("<f4").tobytes()
