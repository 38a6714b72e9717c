"""Which classes lost? One-sided tests of a class before and after, with the false discovery rate controlled.

The moment of the change was estimated from the same comparisons, so the p-values are a guide for whom to distrust, and
not a promise like that of the detectors; the rate is controlled as if they were. Where classes have detectors of their
own, their values are e-values, and controlling the rate over these is a promise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def drop_p(before: tuple[float, float], after: tuple[float, float]) -> float:
    """One-sided mid-p value against "agreement is no lower `after` than `before`"; each is (comparisons, agreement).

    Fisher's exact test with Lancaster's mid-p (JASA 56, 1961). Weighted comparisons enter as effective ones (Kish), as
    Rao and Scott (JASA 76, 1981) do for tables from samples with unequal probabilities, rounded. 0.5 where one side
    has none.
    """
    n, m = round(before[0]), round(after[0])
    if n == 0 or m == 0:
        return 0.5
    bad_before, bad_after = round(n * (1 - before[1])), round(m * (1 - after[1]))
    bad = bad_before + bad_after
    total = _log_choose(n + m, bad)
    terms = [math.exp(_log_choose(m, k) + _log_choose(n, bad - k) - total) for k in range(bad_after, min(m, bad) + 1)]
    return min(1.0, sum(terms[1:]) + terms[0] / 2)


def benjamini_hochberg(p_values: Sequence[float], rate: float) -> list[bool]:
    """Which hypotheses to reject so that the false discovery rate is at most `rate`.

    Benjamini and Hochberg (J. R. Statist. Soc. B 57, 1995): all up to the largest p_(i) <= i rate / m.
    """
    ordered = sorted(p_values)
    limit = max((p for i, p in enumerate(ordered, start=1) if p <= i * rate / len(ordered)), default=-1.0)
    return [p <= limit for p in p_values]


def e_benjamini_hochberg(e_values: Sequence[float], rate: float) -> list[bool]:
    """The same from e-values, however they depend on one another: all down to the smallest e_(k) >= m / (k rate).

    Wang and Ramdas, False discovery rate control with e-values (J. R. Statist. Soc. B 84, 2022). It is enough that the
    means of the e-values under the hypotheses add up to m at most (compound e-values: Ignatiadis, Wang and Ramdas,
    arXiv 2409.19812). Detectors that share comparisons give such: their values M_c are supermartingales once the starts
    s are taken off, so at any time within the horizon H their means add up to H at most, and e_c = m M_c / H will do.
    """
    ordered = sorted(e_values, reverse=True)
    enough = [k for k, e in enumerate(ordered, start=1) if e >= len(ordered) / (k * rate)]
    limit = ordered[enough[-1] - 1] if enough else math.inf
    return [e >= limit for e in e_values]


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
