"""Simulated comparisons without a change, many streams at once, for the detectors to keep silent about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from benchmarks._monitoring_vectorised import Bools, Floats, Ints
from core.ledger import Trust
from core.settings import TaskSettings
from monitoring.rules import Rules, rules_of
from monitoring.statistics.bursts import Recent
from monitoring.statistics.level import strata_of

CLASSES: Final = 20
AGREEMENT: Final = 0.93
VALIDATED: Final = 60  # examples of each class
LABELS: Final = [f"class {number:02}" for number in range(CLASSES)]
_WORST, _BEST = 0.87, 0.99  # agreement of the classes where they differ
_WEEK: Final = 5_000  # comparisons
_BURSTS: Final = 0.01  # share of arrivals that a burst begins with
_CONFIDENCES: Final = ((0.1, 0.97, 0.8), (0.16, 0.9, 0.1), (0.3, 0.75, 0.06), (0.5, 0.5, 0.04))
"""Inclusion probability, agreement, and share of exchanges, from sure to unsure."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Comparisons by time and stream, all arrays of shape (times, streams) but for the last two."""

    labels: Ints
    """Classes, from 0."""
    agrees: Bools
    kinds: Ints | None = None
    """Which of `weights` each comparison has; None: all count fully."""
    weights: Floats | None = None
    """Shape (kinds,)."""
    counts: Bools | None = None
    """Which of them count; None: all."""
    truth: float = AGREEMENT
    """The agreement of all exchanges, on the whole."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the product knows of each stream's classes before it begins: from a validation of its own."""

    strata: Ints
    """Shape (streams, classes)."""
    baselines: Floats
    """Below which a class's own detector looks for a drop, shape (streams, classes)."""
    validated: list[dict[str, tuple[float, float]]]
    """For each stream and label, (examples, agreement)."""


def rules() -> Rules:
    """The rules of a task with this traffic's classes, under the product's default settings."""
    return rules_of(
        TaskSettings.model_validate(
            {"labels": LABELS, "teacher": {"base_url": "http://127.0.0.1:9/v1", "model": "m", "data_may_leave": True}}
        )
    )


def validate(rng: np.random.Generator, agreements: Floats, streams: int, task: Rules) -> Known:
    """Validate classes of these agreements, shape (classes,), for each stream anew."""
    right = rng.binomial(VALIDATED, agreements, (streams, len(agreements)))
    each = {str(k): Trust("", "", str(k), True, k / VALIDATED, VALIDATED, "", 0.0) for k in range(VALIDATED + 1)}
    by_right = task.class_baselines(each)
    baselines = np.array([by_right[str(k)] for k in range(VALIDATED + 1)])
    validated = [
        dict(zip(LABELS, ((float(VALIDATED), k / VALIDATED) for k in row.tolist()), strict=True)) for row in right
    ]
    strata = np.array([[strata_of(LABELS, one)[label] for label in LABELS] for one in validated])
    return Known(strata, baselines[right], validated)


def same(rng: np.random.Generator, times: int, streams: int) -> Traffic:
    """Independent comparisons, each of which agrees with the same probability."""
    labels = rng.integers(0, CLASSES, (times, streams), dtype=np.int8)
    return Traffic(labels, rng.random((times, streams), dtype=np.float32) < AGREEMENT)


def class_agreements(*, differ: bool) -> Floats:
    """The agreement of each class, shape (classes,)."""
    return np.linspace(_WORST, _BEST, CLASSES) if differ else np.full(CLASSES, AGREEMENT)


def swinging(rng: np.random.Generator, times: int, streams: int, *, points: float = 2.0) -> Traffic:
    """Classes agree differently, and their mix swings by the week, so that agreement swings by so many points.

    Each stream begins at another moment of the week.
    """
    agreements = class_agreements(differ=True)
    strength = _strength(agreements, points / 100)
    labels = np.empty((times, streams), dtype=np.int8)
    phase = rng.random(streams) * _WEEK
    for time in range(times):
        mix = np.cumsum(_mix(agreements, strength * np.sin(2 * np.pi * (time + phase) / _WEEK)), axis=1)
        labels[time] = (rng.random(streams)[:, None] > mix[:, :-1]).sum(axis=1)
    return Traffic(labels, rng.random((times, streams), dtype=np.float32) < agreements.astype(np.float32)[labels])


def _mix(agreements: Floats, tilts: Floats) -> Floats:
    """Shares of the classes, tilted towards those that agree more, shape (tilts, classes)."""
    raised = np.exp(tilts[:, None] * (agreements - agreements.mean()) / agreements.std())
    shares: Floats = raised / raised.sum(axis=1, keepdims=True)
    return shares


def _strength(agreements: Floats, swing: float) -> float:
    """How much the mix must be tilted to and fro for agreement to swing by `swing`; by bisection."""
    low, high = 0.0, 3.0
    for _ in range(50):
        middle = (low + high) / 2
        ends = _mix(agreements, np.array([middle, -middle])) @ agreements
        low, high = (low, middle) if ends[0] - ends[1] > swing else (middle, high)
    return low


def bursts(rng: np.random.Generator, times: int, streams: int, size: int, *, ignored: bool = False) -> Traffic:
    """Arrivals of which one in a hundred comes `size` times, all with the same agreement; `ignored`: all count."""
    plain = same(rng, times, streams)
    copies = np.where(rng.random((times, streams), dtype=np.float32) < _BURSTS, size, 1)
    labels, agrees = np.empty_like(plain.labels), np.empty_like(plain.agrees)
    counts = np.ones_like(agrees)
    for stream in range(streams):
        origin = np.repeat(np.arange(times), copies[:, stream])[:times]
        labels[:, stream], agrees[:, stream] = plain.labels[origin, stream], plain.agrees[origin, stream]
        if not ignored:
            recent = Recent(200)
            counts[:, stream] = [not recent.seen(word) for word in map(str, origin.tolist())]
    return Traffic(labels, agrees, counts=None if ignored else counts)


def sampled(rng: np.random.Generator, times: int, streams: int) -> Traffic:
    """Comparisons drawn more often where the student is unsure, and weighted for it."""
    probability, agreement, share = (np.array(column) for column in zip(*_CONFIDENCES, strict=True))
    drawn = probability * share / (probability * share).sum()
    kinds = rng.choice(len(drawn), (times, streams), p=drawn).astype(np.int8)
    labels = rng.integers(0, CLASSES, (times, streams), dtype=np.int8)
    agrees = rng.random((times, streams), dtype=np.float32) < agreement.astype(np.float32)[kinds]
    return Traffic(labels, agrees, kinds, probability.min() / probability, truth=float(agreement @ share))
