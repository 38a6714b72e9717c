"""Which part of the data teaches, which calibrates, which judges.

The part is decided by the hash of a text's near-duplicate cluster and by nothing else: the same text lands in the same
part in every run with the same salt, on every machine, whatever else the data holds; and two messages that differ in
case, punctuation, an order number or the order of their words never stand on both sides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from core.clusters import cluster_key

_BUCKETS: Final = 1 << 32


@dataclass(frozen=True, slots=True)
class Fractions:
    """Shares of the clusters that calibrate and judge; the rest teaches."""

    calibration: float = 0.08
    holdout: float = 0.12

    def __post_init__(self) -> None:
        if min(self.calibration, self.holdout) < 0 or self.calibration + self.holdout >= 1:
            raise ValueError("calibration and holdout must not be negative, and must leave something to train on")


@dataclass(frozen=True, slots=True)
class Split:
    """Positions of the examples in each part, ascending."""

    train: tuple[int, ...]
    calibration: tuple[int, ...]
    holdout: tuple[int, ...]


def split(texts: Sequence[str], *, salt: str = "", fractions: Fractions | None = None) -> Split:
    """Assign each text to a part, by the hash of `salt` and its cluster's key."""
    fractions = fractions or Fractions()
    parts: tuple[list[int], list[int], list[int]] = ([], [], [])
    for position, text in enumerate(texts):
        share = _share(salt, cluster_key(text))
        part = 2 if share < fractions.holdout else 1 if share < fractions.holdout + fractions.calibration else 0
        parts[part].append(position)
    train, calibration, holdout = parts
    return Split(tuple(train), tuple(calibration), tuple(holdout))


def _share(salt: str, key: str) -> float:
    """A number in [0, 1) that depends on nothing but the arguments."""
    digest = hashlib.blake2b(key.encode(), digest_size=4, key=hashlib.sha256(salt.encode()).digest()).digest()
    return int.from_bytes(digest, "big") / _BUCKETS
