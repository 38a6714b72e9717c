"""How fresh the evidence is: numbers that nothing has renewed for a while say nothing of what goes on now.

Time is counted against traffic. Exchanges that flow while nothing comes to judge them by are an alarm; a task that
nobody uses is none. What is reported as recent agreement, however, is unknown in both cases: that goes by the clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from core.records import Answerer, Comparison
from monitoring.rules import Rules

if TYPE_CHECKING:
    from monitoring.state import TaskState

AGREEMENT: Final = "agreement"
FEEDBACK: Final = "feedback"
GOLDEN: Final = "golden_set"
SOURCES: Final = (AGREEMENT, FEEDBACK, GOLDEN)

_REGULAR: Final = 30
"""Feedback that has come so often is expected to go on."""
_FEWEST: Final = 100  # exchanges without feedback before anything is said
_GAPS: Final = 20
"""And so many times what usually lies between two."""
_ROUNDS: Final = 2


class Freshness(msgspec.Struct):
    """When a source last said something, and what came since. O(1) a record."""

    at: float = 0.0
    """Seconds since the epoch; when the first exchange came, where it has said nothing yet."""
    exchanges: int = 0
    """Exchanges since."""
    times: int = 0
    """How often it ever said something; `total`: exchanges ever."""
    total: int = 0
    missing: dict[str, int] = {}
    """Comparisons without the teacher's label since, by outcome: they tell why nothing comes."""

    def exchange(self, at: float) -> None:
        """Count an exchange about which the source might say something."""
        self.at = self.at or at
        self.exchanges += 1
        self.total += 1

    def came(self, at: float) -> None:
        """The source has said something that is about the time `at`."""
        self.at = max(self.at, at)
        self.exchanges = 0
        self.times += 1
        if self.missing:
            self.missing = {}

    def compared(self, comparison: Comparison, rules: Rules) -> None:
        """Take a comparison. What the cascade asked about says nothing of the answers that clients receive.

        Unless nothing is sampled: then it is all that there is.
        """
        sampled = comparison.served_by is Answerer.STUDENT
        if not sampled and rules.stale_exchanges is not None:
            return
        if comparison.agrees is not None:
            self.came(comparison.at)
        else:
            name = comparison.outcome.value
            self.missing[name] = self.missing.get(name, 0) + 1

    def is_old(self, now: float, seconds: float | None) -> bool:
        """Whether, by the clock, what it said last is no longer recent. `seconds` None: it never gets old."""
        return seconds is not None and now - self.at >= seconds


class Staleness(msgspec.Struct):
    """What a task lacks, as of the last look."""

    looked_at: float = 0.0
    """Seconds since the epoch."""
    sources: list[str] = []
    """Of SOURCES, those that should have said something while traffic went on."""
    since: float = 0.0
    """When the first of them was found so; 0 where there is none."""


def look_at_staleness(state: TaskState, rules: Rules, now: float) -> None:
    """Bring `state.staleness` up to date. `now`: seconds since the epoch."""
    found = stale_sources(state, rules)
    known = state.staleness
    state.staleness = Staleness(now, found, (known.since or now) if found else 0.0)


def stale_sources(state: TaskState, rules: Rules) -> list[str]:
    """What should have said something about the traffic so far, and has not."""
    limit, newest, watched = rules.stale_seconds, state.last_exchange, state.watched
    if limit is None or watched is None:
        return []
    agreement, feedback, golden = watched.freshness, state.feedback_freshness, state.golden
    stale = {
        AGREEMENT: (
            rules.stale_exchanges is not None
            and agreement.exchanges >= rules.stale_exchanges
            and newest - agreement.at >= limit
        ),
        FEEDBACK: (
            feedback.times >= _REGULAR
            and feedback.exchanges >= max(_FEWEST, _GAPS * feedback.total / feedback.times)
            and newest - feedback.at >= limit
        ),
        GOLDEN: (
            rules.golden_seconds is not None
            and golden.asked_at > 0
            and newest - golden.asked_at >= limit + _ROUNDS * rules.golden_seconds
        ),
    }
    return [source for source in SOURCES if stale[source]]
