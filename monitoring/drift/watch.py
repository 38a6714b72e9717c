"""Drift in the monitor's state: the reference, the window that is being filled, and what came of those before.

The first exchanges of a version are its reference, and frozen; then window follows window. Each is a sample of what
came in its time: of a busy task a few hundred exchanges a minute are looked at, whatever comes. What is kept is bounded
by the window's size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from core.records import Exchange, StudentAnswer
from monitoring.drift.new_classes import WINDOWS, Unsure, unsure_of
from monitoring.drift.reference import PARTS, Reference, freeze
from monitoring.drift.rows import forgotten, row_of
from monitoring.drift.rules import DriftRules
from monitoring.drift.sampling import Reservoir
from monitoring.drift.season import Season
from monitoring.drift.verdict import Cluster, Score, Verdict
from monitoring.drift.window import Window

FEWEST: Final = 100
"""A window that has waited for a week is compared with so many exchanges."""
_LONGEST: Final = 7 * 86_400.0
_LABEL_SETS: Final = 8
_CALM: Final = 0.05  # p-value above which a window looks like the reference, once there was drift
_CALM_WINDOWS: Final = 2  # in a row, for drift to be over


class DriftWatch(msgspec.Struct):
    """One version's drift. `add` costs little unless the exchange enters the sample."""

    version: str = ""
    reference: Reference | None = None
    sample: Reservoir = msgspec.field(default_factory=lambda: Reservoir(0, ""))
    mismatched: int = 0
    """Exchanges since the sample began that matched no template."""
    full: Window | None = None
    """A window that waits to be compared."""
    season: Season = msgspec.field(default_factory=Season)
    unsure: list[Unsure] = []
    """Of the last windows."""
    last: Verdict | None = None
    """On the window that was compared last; `tripped`: on the one with which drift was called."""
    tripped: Verdict | None = None
    opened: int = 0
    """Samples begun, over all versions."""
    windows: int = 0
    """Windows compared; `skipped`: that were full while the one before still waited."""
    skipped: int = 0
    drifted: int = 0
    """Windows since drift was called; 0: it is not, or two windows in a row look like the reference again."""
    calm: int = 0
    """Of these windows, the last ones in a row that look like the reference."""
    suspected: int = 0
    """The same for a new class: windows since it was suspected."""
    unsuspected: int = 0
    clusters: list[Cluster] = []
    """Of the last window with which a new class was suspected."""
    label_sets: dict[str, int] = {}
    """Answers by label sets that are not the task's."""

    @property
    def scores(self) -> list[Score]:
        """Of the last window that was compared."""
        return self.last.scores if self.last is not None else []

    def add(self, exchange: Exchange, student: StudentAnswer, rules: DriftRules) -> None:
        """Take one exchange that the champion read."""
        if student.version != self.version:
            self._begin(student.version, rules)
        if student.label_set != rules.label_set:
            self._note_label_set(student.label_set)
        sample = self.sample
        if sample.wants(exchange.at):
            vocabulary = self.reference.vocabulary if self.reference is not None else None
            sample.take(row_of(exchange, student, rules, vocabulary))
        age = exchange.at - sample.began
        if len(sample.rows) >= sample.size:
            if age >= (rules.span if self.reference is not None else rules.reference_span):
                self._close(rules)
        elif age >= _LONGEST and len(sample.rows) >= FEWEST and self.reference is not None:
            self._close(rules)

    def add_mismatch(self) -> None:
        """Count an exchange that matched no template, so that no student could read it."""
        if self.version:
            self.mismatched += 1

    def note(self, verdict: Verdict, window: Window, rules: DriftRules) -> None:
        """Take what came of a window."""
        reference = self.reference
        if reference is None or verdict.version != self.version:
            return
        self.windows += 1
        self.last = verdict
        self.unsure = [*self.unsure, unsure_of(reference.counted(window.rows), rules)][-(WINDOWS - 1) :]
        if verdict.drift:
            self.tripped = self.tripped if self.drifted else verdict
            self.drifted, self.calm = self.drifted + 1, 0
        elif self.drifted:
            self.drifted, self.calm = self.drifted + 1, self.calm + 1 if verdict.is_calm(_CALM) else 0
        else:
            self.season.learn(verdict.hours, verdict.began, verdict.ended, rules.season_span)
        if self.calm >= _CALM_WINDOWS:
            self.settle()
        if verdict.new_class:
            self.clusters = verdict.clusters
            self.suspected, self.unsuspected = self.suspected + 1, 0
        elif self.suspected:
            self.suspected, self.unsuspected = self.suspected + 1, self.unsuspected + 1
        if self.unsuspected >= _CALM_WINDOWS:
            self.settle_new_class()

    def settle(self) -> None:
        """Drift is no longer called, since its alarm was closed."""
        self.drifted, self.calm, self.tripped = 0, 0, None

    def settle_new_class(self) -> None:
        """A new class is no longer suspected."""
        self.suspected, self.unsuspected, self.clusters = 0, 0, []

    def forget(self, gone: Callable[[str], bool]) -> int:
        """Drop what could tell of the content of exchanges; returns of how many."""
        count = self.reference.forget(gone) if self.reference is not None else 0
        self.sample.rows, dropped = forgotten(self.sample.rows, gone)
        count += dropped
        if self.full is not None:
            self.full.rows, dropped = forgotten(self.full.rows, gone)
            count += dropped
        for i, unsure in enumerate(self.unsure):
            rows, dropped = forgotten(unsure.rows, gone)
            self.unsure[i] = msgspec.structs.replace(unsure, rows=[row for row in rows if row.vector])
            count += dropped
        self.clusters, dropped = _without_examples(self.clusters, gone)
        count += dropped
        for name in ("last", "tripped"):
            verdict = getattr(self, name)
            if verdict is not None:
                clusters, dropped = _without_examples(verdict.clusters, gone)
                setattr(self, name, msgspec.structs.replace(verdict, clusters=clusters))
                count += dropped
        return count

    def _begin(self, version: str, rules: DriftRules) -> None:
        fresh = DriftWatch(version=version, opened=self.opened, skipped=self.skipped)
        for name in fresh.__struct_fields__:
            setattr(self, name, getattr(fresh, name))
        self._fill(PARTS * rules.window)

    def _fill(self, size: int) -> None:
        self.opened += 1
        self.sample = Reservoir(size, f"{self.version}:{self.opened}")
        self.mismatched = 0

    def _close(self, rules: DriftRules) -> None:
        """Freeze what was gathered as the reference, or have it compared."""
        sample = self.sample
        if self.reference is None:
            self.reference = freeze(self.version, sample.rows, sample.seen, self.mismatched, rules)
        else:
            self.skipped += self.full is not None
            self.full = Window(sample.rows, sample.began, sample.ended, sample.seen, self.mismatched)
        self._fill(rules.window)

    def _note_label_set(self, label_set: str) -> None:
        if label_set in self.label_sets or len(self.label_sets) < _LABEL_SETS:
            self.label_sets[label_set] = self.label_sets.get(label_set, 0) + 1


def _without_examples(clusters: list[Cluster], gone: Callable[[str], bool]) -> tuple[list[Cluster], int]:
    """Clusters without the examples of exchanges that are `gone`, and how many these were."""
    kept = [
        msgspec.structs.replace(one, examples=[e for e in one.examples if not gone(e.exchange)]) for one in clusters
    ]
    return kept, sum(len(a.examples) - len(b.examples) for a, b in zip(clusters, kept, strict=True))
