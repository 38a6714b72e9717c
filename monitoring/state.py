"""The state of a task's watch: a record that exchanges and comparisons move on, and that is stored as it is.

A version that begins to answer begins with new statistics, and is held to two references: for the answers that clients
receive of each class, to what its trust rests on (its validation); for student agreement over all inputs, which no
validation measured on this traffic, to the lower bound learnt from its own first comparisons. So a class that is worse
than validated is noticed from the first exchange on, and validation data that does not look like the traffic raises no
alarm by itself. The statistics of the versions before are kept a while: comparisons arrive late, and a rollback goes on
where it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Final

import msgspec

from core.ledger import Trust
from core.records import Answerer, Comparison, Exchange, Reason
from monitoring.confident_wrongness import Who
from monitoring.drift.watch import DriftWatch
from monitoring.feedback.answered import Answered
from monitoring.feedback.state import FeedbackState
from monitoring.golden import GoldenWatch
from monitoring.money import Money
from monitoring.noise_ceiling import NoiseCeiling
from monitoring.rules import Rules
from monitoring.speed import Speed
from monitoring.staleness import Freshness, Staleness
from monitoring.statistics.detector import Mark
from monitoring.traffic import Traffic
from monitoring.version import VersionState, begin
from monitoring.volume import Volume

_VERSIONS: Final = 3
_SEEN: Final = 10_000
_LOOK: Final = 25  # comparisons between two looks at an alarm's evidence, at least
_IN_A_ROW: Final = 3  # exchanges of a new version that make it the champion: two workers swap at slightly other times


class SeenIds(msgspec.Struct):
    """Whether an id was among the last 10,000 to 20,000, by eight bytes of its hash."""

    young: set[int] = msgspec.field(default_factory=set)
    old: set[int] = msgspec.field(default_factory=set)

    def seen(self, identifier: str) -> bool:
        """Whether `identifier` was seen; from now on it has been."""
        digest = int.from_bytes(blake2b(identifier.encode(), digest_size=8).digest())
        if digest in self.young or digest in self.old:
            return True
        self.young.add(digest)
        if len(self.young) >= _SEEN:
            self.old, self.young = self.young, set()
        return False


class OpenAlarm(msgspec.Struct):
    """What the watch itself remembers of an alarm that it raised and that is not resolved."""

    id: str
    version: str
    change: Mark | None
    raised: int
    """The version's comparisons when it was raised; `reviewed`: when its evidence was last brought up to date."""
    reviewed: int
    looks: int
    """How often its evidence was looked at."""

    def is_due(self, number: int) -> bool:
        """Whether to look again, now that the version has so many comparisons: each time there are half as many more.

        Every look costs some of the false discovery rate, so there are not many.
        """
        begin = self.change.number if self.change is not None else self.raised
        return number - self.reviewed >= max(_LOOK, (self.reviewed - begin) / 2)


class TaskState(msgspec.Struct):
    """Everything that the monitor knows of a task. Memory is bounded by the number of classes."""

    task: str
    champion: str = ""
    versions: dict[str, VersionState] = {}
    """The last few, the one that was used last at the end."""
    seen: SeenIds = msgspec.field(default_factory=SeenIds)
    traffic: Traffic = msgspec.field(default_factory=Traffic)
    volume: Volume = msgspec.field(default_factory=Volume)
    money: Money = msgspec.field(default_factory=Money)
    speed: Speed = msgspec.field(default_factory=Speed)
    drift: DriftWatch = msgspec.field(default_factory=DriftWatch)
    alarms: dict[str, OpenAlarm] = {}
    """By cause."""
    exchanges: dict[str, int] = {}
    """Exchanges by who answered."""
    duplicates: int = 0
    """Comparisons of exchanges that had been compared already."""
    challenger: str = ""
    """The version that answers, or answered last, a canary's share: what clients received of it is served agreement."""
    next_champion: str = ""
    in_a_row: int = 0
    ceiling: NoiseCeiling = msgspec.field(default_factory=NoiseCeiling)
    """How often the teacher agrees with itself."""
    golden: GoldenWatch = msgspec.field(default_factory=GoldenWatch)
    """What its answers to the golden set say of the teacher."""
    feedback: FeedbackState = msgspec.field(default_factory=FeedbackState)
    feedback_freshness: Freshness = msgspec.field(default_factory=Freshness)
    staleness: Staleness = msgspec.field(default_factory=Staleness)
    last_exchange: float = 0.0
    last_comparison: float = 0.0
    """When the newest ones were answered and compared, in seconds since the epoch."""

    @property
    def watched(self) -> VersionState | None:
        """The statistics of the champion, once there is one."""
        return self.versions.get(self.champion)

    def unknown_version(self, record: Exchange | Comparison) -> str | None:
        """The version of a record for which `begin` must be called first."""
        student = record.student
        return None if student is None or student.version in self.versions else student.version

    def begin(self, version: str, rules: Rules, trust: Mapping[str, Trust]) -> None:
        """Begin the statistics of a version. `trust`: what the ledger says of it."""
        self.versions[version] = begin(version, rules, trust)
        while len(self.versions) > _VERSIONS:
            oldest = next(name for name in self.versions if name not in (self.champion, version))
            del self.versions[oldest]

    def observe(self, comparison: Comparison, rules: Rules) -> None:
        """Take one comparison; one of an exchange that was compared already is left out."""
        if self.seen.seen(comparison.exchange):
            self.duplicates += 1
            return
        self.last_comparison = max(self.last_comparison, comparison.compared_at)
        self.volume.add_comparison(comparison)
        self.money.add_comparison(comparison)
        version = comparison.student.version
        counts = self.versions[version].observe(comparison, rules)
        self.versions[version].freshness.compared(comparison, rules)
        if counts and comparison.again is not None:
            self.ceiling.add(comparison, rules)
        if counts and version == self.challenger != self.champion and self.watched is not None:
            self.watched.served_by_challenger(comparison, rules)

    def observe_exchange(self, exchange: Exchange, rules: Rules) -> None:
        """Take one exchange, which must not be taken twice."""
        answered = exchange.answered_by
        self.exchanges[answered.value] = self.exchanges.get(answered.value, 0) + 1
        self.last_exchange = max(self.last_exchange, exchange.at)
        student = exchange.student
        if exchange.canary:
            self.challenger = exchange.canary
        elif student is not None:
            self._note_champion(student.version)
        if student is not None:
            self.versions[student.version].predicted.see(exchange)
        if answered is Answerer.NOBODY:
            return
        self.traffic.add(answered, student.label if student is not None else None)
        self.volume.add(exchange)
        self.money.add(exchange)
        self.speed.add(exchange)
        self.feedback.answered(exchange, rules)
        if answered is Answerer.TEACHER and self.watched is not None:
            self.watched.served_by_teacher(exchange, rules)
        if student is None:
            if exchange.reason is Reason.TEMPLATE_MISMATCH:
                self.drift.add_mismatch()
            return
        version = self.versions[student.version]
        version.expected.add(student.label if student.label in rules.positions else "other", student.confidence)
        if answered is Answerer.STUDENT:
            version.drawn += exchange.shadow
            version.freshness.exchange(exchange.at)
            self.feedback_freshness.exchange(exchange.at)
        if student.version == self.champion and rules.drift.window:
            self.drift.add(exchange, student, rules.drift)

    def learnt(self, answered: Answered, truth: str, rules: Rules) -> None:
        """Hear of an exchange whose truth has become known by feedback; once for each."""
        if answered.answered_by is Answerer.STUDENT:
            self.feedback_freshness.came(self.last_exchange)  # it came now, whenever that was asked
        version = self.versions.get(answered.version)
        if version is None:
            return
        by_student = answered.answered_by is Answerer.STUDENT
        confidence = answered.confidence if by_student else answered.teacher_confidence
        if confidence is not None:
            who = Who.STUDENT if by_student else Who.TEACHER
            version.wrongness.judged(who, answered.label == truth, confidence, answered.label, rules)

    def _note_champion(self, version: str) -> None:
        """The version that answers; another one is believed after a few exchanges without the old one between them."""
        if version == self.champion:
            self.in_a_row = 0
            return
        self.in_a_row = self.in_a_row + 1 if version == self.next_champion else 1
        self.next_champion = version
        if self.in_a_row >= _IN_A_ROW or not self.champion:
            self._hand_level_on(version)
            self.champion, self.in_a_row = version, 0
            self.versions[version] = self.versions.pop(version)  # to the end

    def _hand_level_on(self, version: str) -> None:
        """A new champion is held to what the one before could do at its best, or had to live up to itself."""
        before = self.watched
        if before is not None and version in self.versions:
            self.versions[version].earlier_level = max(before.earlier_level, before.baseline.overall)
