"""Traffic goes on, and nothing fresh comes to judge it by."""

from __future__ import annotations

from typing import Any, Final

from monitoring.causes.cause import Cause, Finding, Look
from monitoring.signals import STALENESS
from monitoring.staleness import AGREEMENT, FEEDBACK, GOLDEN
from monitoring.telling import moment

_SURE_SECONDS: Final = 60.0
"""A monitor that catches up may have read exchanges whose comparisons it reads next."""


class StaleEvidence(Cause):
    """Agreement, feedback or the golden set's answers should have come, and have not. It warns."""

    name = STALENESS

    def has_tripped(self, look: Look) -> bool:
        """Whether a source has been silent for a while."""
        stale = look.state.staleness
        return bool(stale.sources) and look.now - stale.since >= _SURE_SECONDS

    def is_due(self, look: Look) -> bool:
        """Whether another source has grown stale, or one of several is fresh again."""
        standing = look.standing
        return standing is not None and standing.evidence.get("sources") != look.state.staleness.sources

    def find(self, look: Look) -> Finding:
        """What is silent, since when, and what came of the questions."""
        sources = look.state.staleness.sources
        told: dict[str, Any] = {"sources": list(sources), "last": {name: _last(look, name) for name in sources}}
        if AGREEMENT in sources:
            told |= {
                "exchanges_since": look.watched.freshness.exchanges,
                "without_answer_since": dict(look.watched.freshness.missing),
            }
        text = " ".join(_sentence(look, name) for name in sources)
        sure = "Counted, not estimated. What agreement is now, nobody knows."
        return Finding(told, what=text, sure=sure, retrain=False)

    def recovered(self, look: Look) -> str:
        """Whether everything is fresh again."""
        return "" if look.state.staleness.sources else "there is something fresh again"


def _last(look: Look, source: str) -> float:
    times = {
        AGREEMENT: look.watched.freshness.at,
        FEEDBACK: look.state.feedback_freshness.at,
        GOLDEN: look.state.golden.asked_at,
    }
    return times[source]


def _sentence(look: Look, source: str) -> str:
    since = moment(_last(look, source))
    if source == AGREEMENT:
        fresh = look.watched.freshness
        missing = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in sorted(fresh.missing.items()))
        text = f"Of {fresh.exchanges:,} answers of the student since {since} the teacher has judged none"
        return f"{text} ({missing or 'it was not asked: is the shadow worker running?'})."
    if source == FEEDBACK:
        return f"No feedback has come since {since}, of {look.state.feedback_freshness.exchanges:,} exchanges."
    return f"The golden set was last asked {since}."
