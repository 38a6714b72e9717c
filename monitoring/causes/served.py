"""What clients receive agrees with the teacher less often than it did."""

from __future__ import annotations

from core.settings import WatchSettings
from monitoring.causes.agreement import promise, since
from monitoring.causes.cause import Cause, Finding, Look, Loss
from monitoring.evidence import describe, gather, summary
from monitoring.signals import SERVED, tripped
from monitoring.telling import interval, percent


class ServedAgreement(Cause):
    """Served agreement fell below what was learnt from the version's own first exchanges.

    Once it has taken trust it does not recover by itself: clients receive good answers then because the teacher gives
    them, which says nothing of the student.
    """

    name = SERVED

    def __init__(self, watch: WatchSettings) -> None:
        self._watch = watch

    def has_tripped(self, look: Look) -> bool:
        """Whether there is reason for an alarm."""
        return tripped(look.watched, SERVED, look.rules)

    def find(self, look: Look) -> Finding:
        """The evidence, as it is now."""
        watched, known = look.watched, look.known
        change = known.change if known is not None else watched.served_watch.detector.change
        evidence = gather(watched, change, look.rules, known.looks + 1 if known is not None else 1, look.confidence)
        told = describe(watched, evidence, look.rules, watched.served_watch.baseline.overall)
        told["served_agreement"] = summary(watched.served.recent, look.rules.interval_error)
        told["version_served_agreement"] = summary(watched.served.whole, look.rules.interval_error)
        baseline = percent(told["baseline"])
        what = (
            f"What clients receive agrees with the teacher less often than its baseline of {baseline}: "
            f"{interval(told['served_agreement'])} of late, the teacher's own answers included. Of the student's "
            f"answers, {since(evidence, look)}."
        )
        sure = promise(self._watch)
        return Finding(told, what=what, sure=sure, labels=evidence.named, change=change, loss=Loss(evidence))

    def recovered(self, look: Look) -> str:
        """Why the alarm may be closed; empty: it may not."""
        watched, known, standing = look.watched, look.known, look.standing
        if known is None or standing is None:
            return ""
        took = standing.evidence.get("withdrawn") or standing.evidence.get("threshold")
        if took or not watched.served.is_back(known.raised, watched.served_watch.baseline.overall):
            return ""
        return "what clients receive agrees as often as before again"

    def restart(self, look: Look) -> None:
        """Begin anew after the alarm was closed."""
        look.watched.served_watch.detector.restart()
