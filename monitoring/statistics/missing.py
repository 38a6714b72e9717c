"""Is feedback missing at random? A test of whether it comes equally often everywhere, and what can be said if not.

Accuracy on feedback speaks of the exchanges that somebody gave feedback on. Where angry clients write more often than
happy ones it is too low, and no amount of it mends that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_FEWEST: Final = 5.0  # expected in a cell, or it is pooled with others (Cochran, Biometrics 10, 1954)


@dataclass(frozen=True, slots=True)
class Homogeneity:
    """Whether shares differ between cells."""

    statistic: float
    degrees: int
    p_value: float
    """1 where there is too little to compare."""
    distance: float
    """Total variation distance between the mix of those with and that of those without, from 0 to 1."""


def same_share(counts: Mapping[str, int], marked: Mapping[str, int]) -> Homogeneity:
    """Pearson's chi-squared test of "a marked one is as likely in every cell" (Philosophical Magazine 50, 1900).

    `counts`: how many there are in each cell; `marked`: how many of them are marked. Cells in which fewer than five of
    either sort are expected are pooled.
    """
    cells = [(count, min(marked.get(name, 0), count)) for name, count in counts.items() if count > 0]
    total, chosen = sum(count for count, _ in cells), sum(number for _, number in cells)
    rest = total - chosen
    if not chosen or not rest:
        return Homogeneity(0.0, 0, 1.0, 0.0)
    distance = sum(abs(number / chosen - (count - number) / rest) for count, number in cells) / 2
    kept, pool = [], (0, 0)
    for count, number in cells:
        if count * min(chosen, rest) / total >= _FEWEST:
            kept.append((count, number))
        else:
            pool = (pool[0] + count, pool[1] + number)
    if pool[0] * min(chosen, rest) / total >= _FEWEST:
        kept.append(pool)
    if len(kept) < 2:
        return Homogeneity(0.0, 0, 1.0, distance)
    total, chosen = sum(count for count, _ in kept), sum(number for _, number in kept)
    share = chosen / total
    if not 0 < share < 1:
        return Homogeneity(0.0, 0, 1.0, distance)
    statistic = sum((number - count * share) ** 2 / (count * share * (1 - share)) for count, number in kept)
    return Homogeneity(statistic, len(kept) - 1, chi_squared_tail(statistic, len(kept) - 1), distance)


def chi_squared_tail(statistic: float, degrees: int) -> float:
    """P(X >= `statistic`) of X chi-squared with `degrees` degrees of freedom, by its recurrence over these.

    Q(d + 2) = Q(d) + (x/2)^(d/2) e^(-x/2) / Gamma(d/2 + 1), from Q(1) = erfc(sqrt(x/2)) and Q(2) = e^(-x/2)
    (Abramowitz and Stegun 26.4.4, 26.4.5, 26.4.8).
    """
    half = statistic / 2
    if half <= 0:
        return 1.0
    d, tail = (1, math.erfc(math.sqrt(half))) if degrees % 2 else (2, math.exp(-half))
    while d < degrees:
        tail += math.exp(d / 2 * math.log(half) - half - math.lgamma(d / 2 + 1))
        d += 2
    return min(tail, 1.0)


def worst_case(right: int, known: int, total: int) -> tuple[float, float] | None:
    """The least and the most that accuracy over all `total` can be, where `right` of the `known` are.

    Manski (American Economic Review 80, 1990): nothing is assumed of the others, so all may be wrong, or all right.
    These are bounds of the very answers that were given, without any sampling error. None where there are none.
    """
    total = max(total, known)
    return (right / total, (right + total - known) / total) if total else None


def reweighted(counts: Mapping[str, int], right: Mapping[str, int], known: Mapping[str, int]) -> float | None:
    """Accuracy over all, were feedback missing at random within each cell: cells count by how many there are of them.

    A cell of which nothing is known counts like all the others together. None where nothing is known.
    """
    seen = {name: right.get(name, 0) / known[name] for name in counts if known.get(name, 0)}
    weight = sum(counts[name] for name in seen)
    return sum(counts[name] * share for name, share in seen.items()) / weight if weight else None
