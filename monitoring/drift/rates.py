"""Has something become more frequent? Exactly, whatever the sizes."""

from __future__ import annotations

import math

from monitoring.statistics.binomial import log_choose


def more_often(now: int, of_now: int, before: int, of_before: int) -> float:
    """One-sided p-value against "no more often now": `now` of `of_now` exchanges, against `before` of `of_before`.

    Fisher's exact test (Statistical Methods for Research Workers, 5th edition, 1934). 1 where there is nothing to
    compare.
    """
    hits, total = now + before, of_now + of_before
    if not (of_now and of_before and hits):
        return 1.0
    whole = log_choose(total, hits)
    terms = (
        math.exp(log_choose(of_now, k) + log_choose(of_before, hits - k) - whole)
        for k in range(max(now, hits - of_before), min(hits, of_now) + 1)
    )
    return min(1.0, math.fsum(terms))
