"""The report's picture: the difference between candidate and champion in each part of the data, with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from training.compare import PairedResult, Part

_SMALLEST_REACH = 0.05


@dataclass(frozen=True, slots=True)
class Bar:
    """One line; `low`, `point` and `high` are positions in percent of the picture's width."""

    part: Part
    low: float
    point: float
    high: float


@dataclass(frozen=True, slots=True)
class Picture:
    """Groups of lines, by where they were measured. No difference is at 50 %."""

    reach: float
    """The difference at the right edge; at the left one it is the same, the other way."""
    margin: float
    """Position of the margin, left of which a candidate must not be."""
    groups: dict[str, list[Bar]]


def draw_differences(pairs: Mapping[str, PairedResult]) -> Picture | None:
    """Lay the picture out; None where nothing was compared."""
    groups = {
        where: [part for part in (result.overall, *result.parts) if part.texts] for where, result in pairs.items()
    }
    parts = [part for group in groups.values() for part in group]
    if not parts:
        return None
    widest = max(max(abs(part.low), abs(part.high)) for part in parts)
    reach = max(widest * 1.05, _SMALLEST_REACH)

    def at(difference: float) -> float:
        return round(50 + 50 * difference / reach, 2)

    margin = next(iter(pairs.values())).margin
    bars = {
        where: [Bar(part, at(part.low), at(part.difference), at(part.high)) for part in group]
        for where, group in groups.items()
        if group
    }
    return Picture(reach, at(-margin), bars)
