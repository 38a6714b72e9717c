"""Drift of the student's labels: PSI and Jensen-Shannon distance, as Evidently has them, and their permutations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitoring.drift.permutations import Floats, Tested, compare_together

Counts = NDArray[np.int64]

SIGNALS = ("label_psi", "label_jensen_shannon")


@dataclass(frozen=True, slots=True)
class Table:
    """Counts of labels by time of the week, shape (slots, labels): before, and now. One slot: time does not matter."""

    names: Sequence[str]
    before: Counts
    now: Counts

    @property
    def expected(self) -> Floats:
        """Shape (labels,): the shares that were to be expected at the hours of the window."""
        return _mixed(self.before, self.now.sum(axis=1))


def table_of(before: Mapping[int, Mapping[str, int]], now: Mapping[int, Mapping[str, int]]) -> Table:
    """A table of the slots that the window has, of counts by slot and label."""
    slots = sorted(now)
    names = sorted({name for slot in slots for name in (*before.get(slot, {}), *now[slot])})
    sides = [
        np.array([[side.get(slot, {}).get(name, 0) for name in names] for slot in slots], dtype=np.int64)
        for side in (before, now)
    ]
    return Table(names, sides[0], sides[1])


def compare_labels(table: Table, rng: np.random.Generator, level: float) -> Tested:
    """Both scores, over random exchanges within the hours of the week. Only counts matter: these are hypergeometric."""
    together, sizes = table.before + table.now, table.now.sum(axis=1)

    def draw(count: int) -> Floats:
        now = np.stack(
            [
                rng.multivariate_hypergeometric(slot, int(size), size=count, method="marginals")
                for slot, size in zip(together, sizes, strict=True)
            ],
            axis=1,
        )
        return _scores(together - now, now)

    return compare_together(_scores(table.before[None], table.now[None])[0], draw, level=level)


def _scores(before: Counts, now: Counts) -> Floats:
    """Shape (m, 2), of counts of shape (m, slots, labels)."""
    sizes = now[0].sum(axis=1)
    p, q = _mixed(before, sizes), now.sum(axis=-2) / sizes.sum()
    return np.stack([psi(p, q), jensen_shannon(p, q)], axis=-1)


def _mixed(before: Counts, sizes: Counts) -> Floats:
    """Shares of labels where each slot has the weight that it has in the window."""
    shares = before / np.maximum(before.sum(axis=-1, keepdims=True), 1)
    return np.asarray((sizes / sizes.sum()) @ shares, dtype=np.float64)


def psi(p: Floats, q: Floats) -> Floats:
    """Population stability index of shares along the last axis; as for Evidently, an empty label counts as 0.0001."""
    p, q = _filled(p), _filled(q)
    return np.asarray(((p - q) * np.log(p / q)).sum(axis=-1), dtype=np.float64)


def _filled(shares: Floats) -> Floats:
    least = np.where(shares > 0, shares, np.inf).min(axis=-1, keepdims=True)
    return np.where(shares == 0, np.where(least <= 1e-4, least / 1e6, 1e-4), shares)


def jensen_shannon(p: Floats, q: Floats) -> Floats:
    """Jensen-Shannon distance of shares along the last axis: the root of the divergence, in nats."""
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        left, right = (np.where(x > 0, x * np.log(x / middle), 0.0).sum(axis=-1) for x in (p, q))
    return np.asarray(np.sqrt(np.maximum((left + right) / 2, 0.0)), dtype=np.float64)
