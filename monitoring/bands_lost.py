"""Confidence bands with evidence of loss since a change, and the confidence that leaves them to the teacher. Pure.

Classes are judged in `monitoring.evidence`; here it is the answers of the classes that keep their trust, by how sure
the student was. A student may have lost what it is not quite sure of while every class as a whole still looks well.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from math import floor, inf
from typing import Any, Final

from monitoring.evidence import Evidence
from monitoring.rules import Rules
from monitoring.statistics.baseline import shrunk
from monitoring.statistics.classes import benjamini_hochberg, drop_p
from monitoring.statistics.weights import WeightedMean
from monitoring.version import Step, VersionState

_WIDTH: Final = 0.1
_FEWEST: Final = 10  # comparisons of a band since the change before anything is said of it


@dataclass(frozen=True, slots=True)
class Band:
    """Answers whose confidence is in [`lower`, `upper`), that have lost."""

    lower: float
    upper: float
    before: tuple[float, float]
    """(effective comparisons, agreement) as far back as the trail goes; `after` the same since the change."""
    after: tuple[float, float]
    p_value: float

    def told(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "from": round(self.lower, 4),
            "to": round(min(self.upper, 1.0), 4),
            "before": round(self.before[1], 4),
            "before_comparisons": round(self.before[0], 1),
            "after": round(self.after[1], 4),
            "after_comparisons": round(self.after[0], 1),
            "p_value": float(f"{self.p_value:.3g}"),
        }


def lost_bands(
    watched: VersionState, evidence: Evidence, trusted: AbstractSet[str], rules: Rules, present: float
) -> list[Band]:
    """The bands, from the lowest up, that have lost and are no longer good enough to be answered.

    Judged are answers of the classes `trusted` from the confidence `present` on: a one-sided mid-p test of each band
    since the change against before it, with the false discovery rate of the evidence's look controlled over the bands.
    Good enough is `rules.min_agreement`, of what was seen since the change, shrunk towards that of all bands.
    """
    if evidence.change is None:
        return []
    first = evidence.change.number
    steps = [step for step in watched.trail if step.label in trusted and step.confidence >= present]
    before, after = (_by_band(part, present) for part in _parted(steps, first))
    tested = sorted(band for band, mean in after.items() if mean.count >= _FEWEST and band in before)
    sides = [(_summed(before[band]), _summed(after[band])) for band in tested]
    p_values = [drop_p(*pair) for pair in sides]
    named = benjamini_hochberg(p_values, evidence.rate)
    overall = _overall(after.values())
    return [
        Band(max(present, band * _WIDTH), _upper(band), *pair, p_value)
        for band, pair, p_value, lost in zip(tested, sides, p_values, named, strict=True)
        if lost and shrunk(after[band], overall) < rules.min_agreement
    ]


def confidence_above(bands: Sequence[Band], moved: Sequence[tuple[float, float]], most: float) -> float | None:
    """The confidence that leaves as many of the bands below it as the teacher may answer; None: none of them.

    `moved`: confidence and weight of each answer that is given now; `most`: the share of these that may move.
    """
    total = sum(weight for _, weight in moved)
    for band in reversed(bands):
        share = sum(weight for confidence, weight in moved if confidence < band.upper) / total if total else inf
        if share <= most:
            return min(band.upper, 1.0)
    return None


def _parted(steps: Sequence[Step], first: int) -> tuple[list[Step], list[Step]]:
    return [step for step in steps if step.number < first], [step for step in steps if step.number >= first]


def _by_band(steps: Sequence[Step], present: float) -> dict[int, WeightedMean]:
    found: dict[int, WeightedMean] = {}
    for step in steps:
        band = min(floor(max(step.confidence, present) / _WIDTH + 1e-9), round(1 / _WIDTH) - 1)
        found.setdefault(band, WeightedMean()).add(step.agrees, step.weight)
    return found


def _upper(band: int) -> float:
    """Of the highest band nothing is left above."""
    return round((band + 1) * _WIDTH, 4) if band + 1 < round(1 / _WIDTH) else inf


def _summed(mean: WeightedMean) -> tuple[float, float]:
    return mean.effective, mean.estimate or 0.0


def _overall(means: Collection[WeightedMean]) -> float:
    weight = sum(mean.weight for mean in means)
    return sum(mean.agreed for mean in means) / weight if weight else 1.0
