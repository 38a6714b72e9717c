"""What can raise an alarm: the small protocol between a cause, which judges, and the `Reviewer`, which acts.

A cause answers questions about the state and changes nothing but its own statistics, in `written` and `restart`. There
is one open alarm for each cause and version; cooldown, ledger, trust and notifications are the reviewer's business.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from core.ledger import Alarm, Severity
from monitoring.evidence import Evidence
from monitoring.rules import Rules
from monitoring.state import OpenAlarm, TaskState
from monitoring.statistics.detector import Mark
from monitoring.version import VersionState


@dataclass(frozen=True, slots=True)
class Look:
    """What a review looks at."""

    state: TaskState
    watched: VersionState
    """The champion's statistics."""
    rules: Rules
    now: float
    """Seconds since the epoch."""
    confidence: float
    """From which on the champion answers the classes that it is trusted with."""
    known: OpenAlarm | None = None
    """What the state remembers of the cause's open alarm; None also after a crash that lost it."""
    standing: Alarm | None = None
    """The cause's open alarm as it stands in the ledger."""


@dataclass(frozen=True, slots=True)
class Loss:
    """What is to be taken from trust: classes with evidence of loss, and the confidence below which they lost."""

    evidence: Evidence
    surely: AbstractSet[str] = frozenset()
    """Classes that lost beyond doubt: their own detectors tripped."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a cause has found, for the ledger and for people."""

    evidence: dict[str, Any]
    """JSON: numbers with their intervals and sample sizes. `examples`, where there are any, is a list of records with
    the key `exchange`, so that they can be forgotten."""
    what: str = ""
    """What happened, in a sentence or two for a person. Nothing of any exchange's content; kept in the evidence."""
    sure: str = ""
    """How sure that is: what is promised about false alarms, or that nothing is. Kept in the evidence."""
    labels: tuple[str, ...] = ()
    """The classes concerned; empty: none can be named."""
    severity: Severity = Severity.WARNING
    change: Mark | None = None
    """Where the change is estimated to lie."""
    loss: Loss | None = None
    """None: trust stays as it is."""
    retrain: bool = True
    """Whether it is evidence enough to teach the student again, where `watch.retrain_on` names the cause."""


class Cause(ABC):
    """One cause. All methods but `written` and `restart` are pure, and cheap but for `find`."""

    name: str
    """One of `monitoring.signals.SIGNALS`."""

    @abstractmethod
    def has_tripped(self, look: Look) -> bool:
        """Whether there is reason for an alarm."""

    @abstractmethod
    def find(self, look: Look) -> Finding:
        """The evidence, as it is now: for a new alarm, or to bring the open one up to date."""

    def is_due(self, look: Look) -> bool:
        """Whether the open alarm's evidence is to be brought up to date. Not asked where there is none.

        By default whenever there are half as many comparisons more.
        """
        return look.known is not None and look.known.is_due(look.watched.number)

    def recovered(self, look: Look) -> str:
        """Why the open alarm may be closed, for a person to read; empty: it may not. This is the hysteresis."""
        del look
        return ""

    def written(self, look: Look, alarm: Alarm, finding: Finding) -> None:
        """The alarm stands in the ledger as `alarm`, with this finding, and what it does about trust is done."""
        del look, alarm, finding

    def restart(self, look: Look) -> None:
        """Begin anew after the alarm was closed: what tripped it is not held against the student twice."""
        del look
