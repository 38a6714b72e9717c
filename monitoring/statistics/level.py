"""The level of agreement: what is to be expected of the next comparison, from all comparisons before it.

In a stratum of classes, where n comparisons were made before and k of them disagreed, the next one disagrees with
probability

    (k + 1/2) / (n + 1)      (Krichevsky and Trofimov, IEEE Trans. Inf. Theory 27, 1981),

which is Bernoulli's with Jeffreys' prior for its unknown rate. Taken as the baseline of a detector, it makes the factor
L of `monitoring.statistics.detector` a fair bet although no level is known: were a stratum's rate drawn from that
prior, L has mean 1 given the past, and an alarm within a horizon H has the chance H/c at most, exactly. For each rate
by itself that is no theorem, and `benchmarks.monitoring` simulates it; it rests on the errors of such predictions being
uncorrelated, whatever the rate (the recursive residuals of Brown, Durbin and Evans, J. R. Stat. Soc. B 37, 1975). A
lower bound of the level, in its place, costs a third more delay, for it asks for a larger drop than there is.

Weighted comparisons count with their weights, so that k/n speaks of all exchanges, however they were sampled. The prior
then counts for more, which errs on the side of silence.

Only within a stratum need agreement be the same all the time, so a mix of classes that changes is no change. Strata are
fixed before the first comparison, by what was validated: grouped by the comparisons themselves, the classes that were
lucky would be held to their luck.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Mapping
from typing import Final

import msgspec

MOST_STRATA: Final = 8
PRIOR: Final = 0.5
_NOTHING: Final = (0.0, 0.0)
_STRENGTH: Final = 10.0  # comparisons by which what was validated of a class is drawn to the mean
_EVERY: Final = 250
_CHECKPOINTS: Final = 16


class Checkpoint(msgspec.Struct, frozen=True, array_like=True):
    """The counts as they were before the comparison `number`."""

    number: int
    counts: dict[int, tuple[float, float]]


class Level(msgspec.Struct):
    """The level in each stratum. O(1) for each comparison."""

    strata: dict[str, int] = {}
    """By class, from 1; 0 is for those that are not in it."""
    counts: dict[int, tuple[float, float]] = {}
    """By stratum, the weight of disagreements and that of all comparisons."""
    kept: list[Checkpoint] = []
    """A few, to go back to; `every`: so many comparisons lie between them."""
    every: int = _EVERY
    held: bool = False
    """It learns nothing for now, since there seems to have been a change."""

    def expected(self, label: str) -> float:
        """The agreement to be expected of the next comparison of a class, in (0, 1)."""
        bad, total = self.counts.get(self.strata.get(label, 0), _NOTHING)
        return 1 - (bad + PRIOR) / (total + 2 * PRIOR)

    def learn(self, label: str, agrees: float, weight: float, number: int) -> None:
        """Take the comparison `number`, after `expected` was asked; nothing while held. `agrees` is in [0, 1]."""
        if self.held:
            return
        if number % self.every == 0:
            self._keep(number)
        stratum = self.strata.get(label, 0)
        bad, total = self.counts.get(stratum, _NOTHING)
        self.counts[stratum] = (bad + weight * (1 - agrees), total + weight)

    def hold(self, since: int) -> None:
        """Stop learning, and forget what was learnt from the comparison `since` on, which belongs to another level.

        It goes back to the last checkpoint before it, so up to an eighth of what came before goes as well; where there
        is none yet, nothing does.
        """
        if self.held:
            return
        self.held = True
        del self.kept[bisect_right(self.kept, since, key=lambda one: one.number) :]
        if self.kept:
            self.counts = dict(self.kept[-1].counts)

    def _keep(self, number: int) -> None:
        self.kept.append(Checkpoint(number, dict(self.counts)))
        if len(self.kept) > _CHECKPOINTS:
            self.every *= 2
            self.kept = [one for one in self.kept if one.number % self.every == 0]


def strata_of(labels: Collection[str], validated: Mapping[str, tuple[float, float]]) -> dict[str, int]:
    """Put classes into at most eight strata, numbered from 1, of which each holds similar ones.

    `validated`: for each class (examples, agreement). Up to eight classes are a stratum each. Of more, those that were
    validated are ordered by their agreement, and cut so that a stratum holds at most a quarter of the classes and spans
    at most a quarter of the agreements; the others are left out.
    """
    if len(labels) <= MOST_STRATA:
        return {label: number for number, label in enumerate(sorted(labels), 1)}
    known = {label: validated[label] for label in labels if validated.get(label, (0.0, 0.0))[0] > 0}
    if not known:
        return {}
    examples = sum(size for size, _ in known.values())
    mean = sum(size * agreement for size, agreement in known.values()) / examples
    shrunk = {
        label: (size * agreement + _STRENGTH * mean) / (size + _STRENGTH) for label, (size, agreement) in known.items()
    }
    ordered = sorted(shrunk, key=lambda label: (shrunk[label], label))
    lowest, span = shrunk[ordered[0]], shrunk[ordered[-1]] - shrunk[ordered[0]]
    if not span:
        return dict.fromkeys(ordered, 1)
    return {
        label: 1 + min(int(MOST_STRATA * (rank / len(ordered) + (shrunk[label] - lowest) / span) / 2), MOST_STRATA - 1)
        for rank, label in enumerate(ordered)
    }
