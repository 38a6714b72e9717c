"""Is there a class that the student does not know? Clusters of what it is unsure of, which were not there before.

Half of the exchanges, by a hash of their ids, find clusters: the largest balls (by cosine of the student's vectors,
less their mean) of those that the student was unsure of. The other half confirms: had nothing changed, as large a share
of it as of the reference would be unsure and lie in such a ball, and Fisher's test says whether it is more. Since the
ball was chosen by other exchanges, the test owes nothing to the search. The last window is looked at, and the last four
together, which show what comes slowly.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from monitoring.drift.embeddings import vectors_of
from monitoring.drift.rates import more_often
from monitoring.drift.reference import Reference
from monitoring.drift.rows import Row
from monitoring.drift.rules import DriftRules
from monitoring.drift.verdict import Cluster, Example

WINDOWS: Final = 4
"""Of which the unsure rows are kept."""
_UNSURE: Final = 400  # rows of a window
_RADIUS: Final = 0.4  # cosine
_FEWEST: Final = 5
_BALLS: Final = 3
_EXAMPLES: Final = 5

_Vectors = NDArray[np.float32]


class Unsure(msgspec.Struct, frozen=True):
    """The rows of one window of which the student was unsure; and of all rows, how many are in the confirming half."""

    rows: list[Row]
    confirming: int
    exchanges: int


def unsure_of(window: Sequence[Row], rules: DriftRules) -> Unsure:
    """The unsure rows of a window, the first 400."""
    rows = [row for row in window if row.confidence < rules.min_confidence and row.vector]
    return Unsure(rows[:_UNSURE], sum(_confirms(row) for row in window), len(window))


def suspects(reference: Reference, unsure: Sequence[Unsure], rules: DriftRules) -> tuple[list[Cluster], float]:
    """Clusters of the last windows (the newest at the end), the surest first, and the p-value of the surest.

    Corrected for all that was looked at. (nothing, 1) where there are no vectors.
    """
    vectors = vectors_of(reference.rows)
    if vectors is None or not unsure:
        return [], 1.0
    map_ = _Map(reference.rows, vectors, rules)
    spans = [unsure[-1:], unsure[-WINDOWS:]] if len(unsure) > 1 else [unsure[-1:]]
    found = [cluster for span in spans for cluster in _clusters(map_, span)]
    found.sort(key=lambda cluster: cluster.p_value)
    looks = _BALLS * len(spans)
    surest = min(1.0, looks * found[0].p_value) if found else 1.0
    shown = [one for one in found if looks * one.p_value <= rules.level("new_class")] or found[:1]
    return shown[:_BALLS], surest


class _Map:
    """Where the reference's inputs lie."""

    def __init__(self, rows: Sequence[Row], vectors: _Vectors, rules: DriftRules) -> None:
        known: NDArray[np.bool_] = np.asarray(np.isfinite(vectors).all(axis=1))
        self.middle = vectors[known].mean(axis=0)
        places = self.place(vectors[known])
        kept = [row for row, there in zip(rows, known, strict=True) if there]
        sure = np.array([row.confidence >= rules.min_confidence for row in kept], dtype=bool)
        self.unsure = places[~sure]
        self.total = len(kept)
        names, codes = np.unique([row.label for row, yes in zip(kept, sure, strict=True) if yes], return_inverse=True)
        sums = np.zeros((len(names), vectors.shape[1]), dtype=np.float32)
        np.add.at(sums, codes, places[sure])
        self.names: list[str] = [str(name) for name in names]
        self.centres = _unit(sums)
        own = (places[sure] * self.centres[codes]).sum(axis=1)
        self.usual = [float(np.median(own[codes == i])) for i in range(len(names))]

    def place(self, vectors: _Vectors) -> _Vectors:
        """Directions from the middle, of length one."""
        return _unit(vectors - self.middle)


def _clusters(map_: _Map, unsure: Sequence[Unsure]) -> list[Cluster]:
    rows = [row for window in unsure for row in window.rows]
    finding = [row for row in rows if not _confirms(row)]
    confirming = [row for row in rows if _confirms(row)]
    found, confirmed = (_placed(map_, side) for side in (finding, confirming))
    if found is None or confirmed is None:
        return []
    alike = found @ found.T >= _RADIUS
    left, clusters = np.ones(len(found), dtype=bool), []
    for _ in range(_BALLS):
        sizes = (alike & left).sum(axis=1) * left
        best = int(sizes.argmax())
        if sizes[best] < _FEWEST:
            break
        members = np.flatnonzero(alike[best] & left)
        left[members] = False
        centre = _unit(found[members].mean(axis=0, keepdims=True))[0]
        inside = np.flatnonzero(confirmed @ centre >= _RADIUS)
        clusters.append(
            _cluster(map_, unsure, centre, len(members), [confirming[i] for i in inside], [finding[i] for i in members])
        )
    return clusters


def _cluster(
    map_: _Map, unsure: Sequence[Unsure], centre: _Vectors, members: int, inside: list[Row], others: list[Row]
) -> Cluster:
    before = int((map_.unsure @ centre >= _RADIUS).sum()) if len(map_.unsure) else 0
    nearest = int((map_.centres @ centre).argmax()) if map_.names else -1
    return Cluster(
        size=members + len(inside),
        exchanges=sum(window.exchanges for window in unsure),
        before=before,
        reference=map_.total,
        p_value=more_often(len(inside), sum(window.confirming for window in unsure), before, map_.total),
        nearest=map_.names[nearest] if map_.names else "",
        similarity=float(map_.centres[nearest] @ centre) if map_.names else 0.0,
        usual_similarity=map_.usual[nearest] if map_.names else 0.0,
        examples=[Example(row.exchange, row.label, row.confidence, row.text) for row in (*inside, *others)[:_EXAMPLES]],
    )


def _placed(map_: _Map, rows: Sequence[Row]) -> _Vectors | None:
    """Where rows lie; None where there are none, or their vectors are of another kind."""
    if not rows or {len(row.vector) for row in rows} != {2 * len(map_.middle)}:
        return None
    joined = np.frombuffer(b"".join(row.vector for row in rows), dtype="<f2")
    return map_.place(joined.reshape(len(rows), -1).astype(np.float32))


def _unit(vectors: _Vectors) -> _Vectors:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9), dtype=np.float32)


def _confirms(row: Row) -> bool:
    return bool(zlib.crc32(row.exchange.encode()) & 1)
