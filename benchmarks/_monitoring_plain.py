"""Agreement checked as it usually is: a window beside a reference or a target, with an ordinary test."""

from __future__ import annotations

from collections.abc import Callable
from statistics import NormalDist
from typing import Final

import numpy as np

from benchmarks._monitoring_traffic import AGREEMENT
from benchmarks._monitoring_vectorised import Bools, Floats, Ints

_NORMAL: Final = NormalDist()
_WINDOW: Final = 1_000
_FEWEST: Final = 100  # comparisons before a running mean is looked at


def z_scores(first_bad: Ints, first: Ints | int, then_bad: Ints, then: Ints | int) -> Floats:
    """By how many standard errors the share of the bad has grown: the z-test of two proportions, pooled."""
    pooled = (first_bad + then_bad) / (first + then)
    spread = np.sqrt(np.maximum(pooled * (1 - pooled), 1e-12) * (1 / first + 1 / then))
    scores: Floats = (then_bad / then - first_bad / first) / spread
    return scores


def windows(agrees: Bools, size: int) -> tuple[Ints, Floats]:
    """Windows one after another beside the first: when each is full, and its z-score, shape (windows, streams)."""
    full = len(agrees) // size
    bad = (~agrees[: full * size]).reshape(full, size, -1).sum(axis=1)
    return size * np.arange(2, full + 1), z_scores(bad[0], size, bad[1:], size)


def _evidently(agrees: Bools) -> tuple[Ints, Bools]:
    """Evidently's default for a column of two values and a reference of 1,000 rows: two-sided, p < 0.05."""
    at, scores = windows(agrees, _WINDOW)
    return at, np.abs(scores) > _NORMAL.inv_cdf(1 - 0.05 / 2)


def _one_percent(agrees: Bools) -> tuple[Ints, Bools]:
    at, scores = windows(agrees, _WINDOW)
    return at, scores > _NORMAL.inv_cdf(0.99)


def _sliding(agrees: Bools) -> tuple[Ints, Bools]:
    """The last 200 after every comparison, beside the level that is known."""
    bad = np.cumsum(~agrees, axis=0, dtype=np.int32)
    last = bad[200:] - bad[:-200]
    scores = (last / 200 - (1 - AGREEMENT)) / np.sqrt(AGREEMENT * (1 - AGREEMENT) / 200)
    return np.arange(201, len(agrees) + 1), scores > _NORMAL.inv_cdf(0.99)


def _running(agrees: Bools) -> tuple[Ints, Bools]:
    """An ordinary one-sided 95 % limit of the mean so far, looked at after every comparison."""
    count = np.arange(_FEWEST, len(agrees) + 1)
    mean = np.cumsum(~agrees, axis=0, dtype=np.int32)[_FEWEST - 1 :] / count[:, None]
    limit = mean - _NORMAL.inv_cdf(0.95) * np.sqrt(mean * (1 - mean) / count[:, None])
    return count, limit > 1 - AGREEMENT


PLAIN: Final[dict[str, Callable[[Bools], tuple[Ints, Bools]]]] = {
    "Evidently's default, windows of 1,000": _evidently,
    "z-test at 1 %, windows of 1,000": _one_percent,
    "z-test at 1 %, the last 200, every look": _sliding,
    "95 % limit of the mean, every look": _running,
}


def first_alarms(agrees: Bools) -> dict[str, Ints]:
    """When each check first raised an alarm, by stream; 0: never. `agrees` is of shape (times, streams)."""
    found = {}
    for name, check in PLAIN.items():
        at, alarms = check(agrees)
        found[name] = np.where(alarms.any(axis=0), at[alarms.argmax(axis=0)], 0)
    return found
