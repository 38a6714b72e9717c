"""A promoted student that stays below the level of the one before it: one run was not enough.

The level is the lower bound of student agreement that was learnt from the version before, while all was well with it;
where that version was itself below the level of the one before, that one's. A candidate is promoted for being better
than a champion that had fallen, which may be far less than what was had before the shift.
"""

from __future__ import annotations

from monitoring.causes.cause import Cause, Finding, Look
from monitoring.evidence import summary
from monitoring.signals import BELOW
from monitoring.statistics.confidence import upper_limit
from monitoring.telling import interval, percent


class BelowEarlierLevel(Cause):
    """The upper limit of the version's confidence sequence is below the earlier level.

    That holds at all times together, so it may be looked at as often as one likes: a version that is as good as the
    level is said to be below it with the chance `rules.baseline_error` at most, and the level is too high with the
    same.
    """

    name = BELOW

    def has_tripped(self, look: Look) -> bool:
        """Whether there is reason for an alarm."""
        level, mean = look.watched.earlier_level, look.watched.student.whole
        estimate = mean.estimate
        if not level or estimate is None or estimate >= level:  # the usual case costs nothing
            return False
        return upper_limit(mean, look.rules.baseline_error) < level

    def is_due(self, look: Look) -> bool:
        """Never: what is known of it is known when it opens."""
        del look
        return False

    def find(self, look: Look) -> Finding:
        """The evidence, as it is now."""
        watched, error = look.watched, look.rules.interval_error
        told = {
            "baseline": round(watched.earlier_level, 4),
            "since": None,
            "student_agreement": summary(watched.student.whole, error),
            "recent_agreement": summary(watched.student.recent, error),
        }
        seen = interval(summary(watched.student.whole, error))
        what = (
            f"Version {watched.version} was promoted, and stays below the {percent(watched.earlier_level)} that the "
            f"version before it was shown to reach: {seen}."
        )
        sure = (
            "the upper limit of its confidence sequence lies below that level, which holds however often one looks; "
            f"chance of a false alarm about this version: {percent(2 * look.rules.baseline_error)} at most."
        )
        return Finding(told, what=what, sure=sure)

    def recovered(self, look: Look) -> str:
        """Why the alarm may be closed; empty: it may not."""
        student, known = look.watched.student, look.known
        if known is None or student.recent_from < known.raised or student.recent.estimate is None:
            return ""
        if student.recent.estimate < look.watched.earlier_level:
            return ""
        return "agreement has come back to the earlier level"

    def restart(self, look: Look) -> None:
        """Whoever closes it accepts the level as it is now; so do the versions that come after."""
        look.watched.earlier_level = 0.0
