"""How many comparisons a detector needs to see a drop: by simulating many streams at once.

The arithmetic is that of `monitoring.statistics.detector` and `monitoring.statistics.level`, over an axis of streams; a
test holds the two together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from monitoring.statistics.detector import BETS, MOST_BASELINE, bets_beyond
from monitoring.statistics.level import PRIOR

STREAMS: Final = 200
_ENOUGH: Final = 0.9
"""Share of the streams that must have raised their alarm before a simulation ends."""


@dataclass(frozen=True, slots=True)
class Delay:
    """Comparisons from a drop to its alarm; infinite where they are more than was asked for."""

    median: float
    most: float
    """What nine streams in ten need."""


def delay_from_level(
    before: float,
    agreement: float,
    drop: float,
    limit: float,
    longest: int,
    *,
    margin: float = 0.0,
    seed: int = 0,
    streams: int = STREAMS,
) -> Delay:
    """The delay of a detector that has learnt its level from `before` comparisons, and looks for more than `margin`.

    `agreement` falls by `drop`; the detector trips at `limit`. A delay beyond `longest` comparisons counts as infinite.
    """
    bad, total = np.full(streams, before * (1 - agreement)), np.full(streams, before)
    return _simulate(bad, total, None, agreement - drop, limit, longest, bets_beyond(margin), seed)


def delay_from_baseline(
    baseline: float, agreement: float, limit: float, longest: int, *, seed: int = 0, streams: int = STREAMS
) -> Delay:
    """The same of a detector with a fixed `baseline`, where agreement is `agreement` from now on."""
    return _simulate(np.zeros(streams), np.zeros(streams), baseline, agreement, limit, longest, BETS, seed)


def _simulate(
    bad: NDArray[np.float64],
    total: NDArray[np.float64],
    baseline: float | None,
    agreement: float,
    limit: float,
    longest: int,
    shares: Sequence[float],
    seed: int,
) -> Delay:
    rng, bets = np.random.default_rng(seed), np.array(shares)
    sums = np.zeros((len(bad), len(bets)))
    found = np.full(len(bad), np.inf)
    open_streams = np.arange(len(bad))
    for number in range(1, longest + 1):
        disagrees = rng.random(len(open_streams)) >= agreement
        expected = 1 - (bad + PRIOR) / (total + 2 * PRIOR) if baseline is None else np.full(len(bad), baseline)
        m = np.minimum(expected, MOST_BASELINE)
        gain = np.where(disagrees, m / (1 - m), -1.0)
        sums = (1 + bets * gain[:, None]) * (sums + 1)
        bad, total = bad + disagrees, total + 1
        tripped = sums.mean(axis=1) >= limit
        if tripped.any():
            found[open_streams[tripped]] = number
            left = ~tripped
            open_streams, sums, bad, total = open_streams[left], sums[left], bad[left], total[left]
            if len(open_streams) <= (1 - _ENOUGH) * len(found):
                break
    ordered = np.sort(found)
    return Delay(float(ordered[(len(found) - 1) // 2]), float(ordered[int(np.ceil(_ENOUGH * len(found))) - 1]))
