"""From which confidence on a student may answer, so that its answers agree with the teacher as often as is wanted.

Learn then Test (Angelopoulos, Bates, Candès, Jordan and Lei, arXiv 2110.01052): each threshold t is a hypothesis
H_t, "of the answers with a confidence of at least t, less than the target agree", and is answered for only where H_t is
rejected. With k of n held-out answers at or above t agreeing, k is binomial given n, so an exact p-value is

    p_t = P(Bin(n, 1 - target) <= n - k),

and p_t <= error is the same as a Clopper-Pearson lower bound of the agreement that reaches the target. Thresholds are
tested from high to low, each at the full error, and the first that is not rejected ends it (fixed-sequence testing,
their Algorithm 1): to be wrong, one must be wrong at the highest threshold that is too low, and there is only one. So
the agreement of what is answered is below the target with probability `error` at most, over the draw of the examples.

The thresholds are fixed beforehand, and do not depend on the examples. Where the sequence begins depends on how many
examples lie above, and not on whether they agree: it begins where there are enough to show anything. Beginning lower
than the highest threshold that is too low costs nothing where agreement does not fall as confidence rises, which is
what calibration is for.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from monitoring.statistics.binomial import binomial_cdf, lower_bound

_HIGHEST: Final = (0.999, 0.998, 0.995)
_FINEST: Final = 100  # thresholds between 0 and 1, below the highest
_POWER: Final = 0.8
"""Chance with which the first threshold should pass where half as many answers disagree as the target allows."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The lowest threshold that has been shown to keep the target, and what it rests on."""

    confidence: float | None
    """None: none has been shown to, with these examples."""
    target: float
    error: float
    """Chance that agreement is below `target` all the same."""
    answered: int
    """Examples at or above it, of `examples` at or above the floor; without a threshold, those at the first tested."""
    agreed: int
    examples: int

    @property
    def lower(self) -> float:
        """Lower confidence bound of the agreement of what is answered."""
        return lower_bound(self.agreed, self.answered, self.error)


def lowest_confidence(
    confidence: NDArray[np.float32], agreed: NDArray[np.bool_], *, target: float, floor: float, error: float
) -> Selection:
    """The lowest threshold, not below `floor`, at or above which agreement reaches `target`.

    `confidence` and `agreed`, shape (n,): of held-out answers. 0 < `target` < 1; `error` as in `Selection`.
    """
    order = np.argsort(-confidence, kind="stable")
    falling, hits = confidence[order].astype(np.float64), np.concatenate(([0], np.cumsum(agreed[order])))
    thresholds = _thresholds(floor)
    counts = [int(np.searchsorted(-falling, -one, side="right")) for one in thresholds]
    examples = counts[-1]
    wanted = min(_enough(target, error), max(examples // 2, _fewest(target, error)))
    begin = next((at for at, count in enumerate(counts) if count >= wanted), len(counts) - 1)
    best: int | None = None
    for at in range(begin, len(thresholds)):
        count = counts[at]
        if not count or binomial_cdf(count - int(hits[count]), count, 1 - target) > error:
            break
        best = at
    shown = begin if best is None else best
    return Selection(
        confidence=None if best is None else thresholds[best],
        target=target,
        error=error,
        answered=counts[shown],
        agreed=int(hits[counts[shown]]),
        examples=examples,
    )


def _thresholds(floor: float) -> list[float]:
    """From high to low; the last is `floor` itself."""
    steps = [*_HIGHEST, *(step / _FINEST for step in range(_FINEST - 1, 0, -1))]
    return [*(step for step in steps if step > floor), floor]


def _fewest(target: float, error: float) -> int:
    """With fewer examples nothing can be shown, even if all agree."""
    return math.ceil(math.log(error) / math.log(target))


def _enough(target: float, error: float) -> int:
    """Examples with which a student that disagrees half as often as it may passes with probability `_POWER`."""
    for allowed in itertools.count():
        trials = _trials(allowed, 1 - target, error)
        if binomial_cdf(allowed, trials, (1 - target) / 2) >= _POWER:
            return trials
    raise AssertionError("the count never ends")


def _trials(allowed: int, rate: float, error: float) -> int:
    """The fewest trials among which `allowed` disagreements still show that their rate is below `rate`."""
    low, high = allowed, allowed + 1
    while binomial_cdf(allowed, high, rate) > error:
        low, high = high, high * 2
    while high - low > 1:
        half = (low + high) // 2
        low, high = (low, half) if binomial_cdf(allowed, half, rate) <= error else (half, high)
    return high
