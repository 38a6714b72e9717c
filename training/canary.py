"""What a canary is judged by: whether the challenger fails, or is slow, where the champion would not. Pure functions.

Users were dealt to the two by a hash, which knows nothing of them. So where it makes no difference who answers, each
user who meets a failure is the challenger's with the probability that is its share, whatever makes requests fail: a
user counts once, since one who sends what no student can read fails again and again. And where the challenger is no
slower, it is no slower than the champion was a moment before in more than half of the cases, whatever the load. Both
are tested by betting (`monitoring.statistics.binomial`), so one may look after each request and stop at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from monitoring.statistics.binomial import evidence_above

ERROR: Final = 0.01
"""Chance that a challenger that fails no more than the champion is stopped all the same; and one that is no slower."""
_NEGLIGIBLE_MS: Final = 5.0


class Side(msgspec.Struct, frozen=True):
    """What one of the two was asked since the canary began."""

    requests: int = 0
    failed: int = 0
    """Requests that it did not answer, or not in time."""
    failed_users: int = 0
    """Users of these; a request that names none is a user of its own."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What there is to judge."""

    share: float
    """Of users, that were the challenger's."""
    challenger: Side
    champion: Side
    times: NDArray[np.float64]
    """Times of the challenger's answers, each with that of the champion's last one before it: shape (n, 2), in
    milliseconds."""

    @property
    def slowdown(self) -> float | None:
        """How many times as long as the champion the challenger takes, in the median; None without answers of both."""
        if not len(self.times):
            return None
        return float(np.median(self.times[:, 0] / np.maximum(self.times[:, 1], 1e-6)))


def objections(seen: Seen, slowdown: float) -> list[str]:
    """Why the challenger must not take over, for a person; empty: nothing speaks against it so far."""
    return [said for said in (_fails(seen), _is_slow(seen, slowdown)) if said]


def _fails(seen: Seen) -> str:
    challenger, champion = seen.challenger, seen.champion
    users = challenger.failed_users + champion.failed_users
    if evidence_above(challenger.failed_users, users, seen.share) < 1 / ERROR:
        return ""
    return (
        f"it failed {challenger.failed} of {challenger.requests} live requests, of {challenger.failed_users} users; "
        f"the champion failed {champion.failed} of {champion.requests}, of {champion.failed_users} users, "
        f"while {seen.share:.0%} of users were the candidate's"
    )


def _is_slow(seen: Seen, slowdown: float) -> str:
    if not len(seen.times):
        return ""
    own, before = seen.times[:, 0], seen.times[:, 1]
    slow = int((own > np.maximum(before * slowdown, before + _NEGLIGIBLE_MS)).sum())
    if evidence_above(slow, len(own), 0.5) < 1 / ERROR:
        return ""
    return (
        f"it is slow: {float(np.median(own)):.1f} ms for a live request in the median, the champion "
        f"{float(np.median(before)):.1f} ms at the same time; {slow} of {len(own)} answers took more than {slowdown:g} "
        "times as long (retrain.canary_slowdown)"
    )
