"""The detector of student agreement within a version's statistics: it trips, holds its level, and begins anew."""

from __future__ import annotations

import pytest

from monitoring.rules import rules_of
from monitoring.signals import CLASSES, STUDENT, change_of, restart, tripped
from monitoring.statistics.detector import bets_beyond
from monitoring.version import VersionState, begin
from tests.support.monitoring_world import LABELS, World, task_settings, trust_rows


class Watched:
    """A version, and traffic that shows it comparisons."""

    def __init__(self, **watch) -> None:
        self.rules = rules_of(task_settings(**watch))
        self.world = World(3)
        self.version: VersionState = begin("1", self.rules, {row.label: row for row in trust_rows()})

    def run(self, comparisons: int, agreement: float, until_tripped: bool = False) -> int:
        """Show it so many; returns after how many it stopped."""
        self.world.agreement = dict.fromkeys(LABELS, agreement)
        for number in range(1, comparisons + 1):
            comparison = self.world.pair(drawn=True)[1]
            assert comparison is not None
            self.version.observe(comparison, self.rules)
            if until_tripped and tripped(self.version, STUDENT, self.rules):
                return number
        return comparisons

    @property
    def expected(self) -> float:
        return sum(self.version.level.expected(label) for label in LABELS) / len(LABELS)


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_it_trips_holds_its_level_and_begins_anew_with_it(watched):
    watched.run(3_000, 0.93)
    assert not tripped(watched.version, STUDENT, watched.rules)
    assert watched.run(400, 0.6, until_tripped=True) < 60
    change = change_of(watched.version, STUDENT, ())
    assert change is not None
    assert abs(change.number - 3_001) < 40
    watched.run(500, 0.6)
    assert watched.version.level.held
    assert watched.expected == pytest.approx(0.93, abs=0.015)
    restart(watched.version, STUDENT)
    assert watched.version.detector.value == 0.0
    watched.run(300, 0.93)
    assert not watched.version.level.held
    assert watched.expected == pytest.approx(0.93, abs=0.015)
    assert watched.run(400, 0.6, until_tripped=True) < 60


def test_it_learns_on_where_a_trip_passes_by_itself(watched):
    watched.run(2_000, 0.93)
    watched.run(400, 0.75, until_tripped=True)
    assert watched.version.level.held
    watched.run(3_000, 0.98)
    assert not watched.version.level.held
    assert watched.expected > 0.95


def test_an_improvement_is_no_alarm_and_is_learnt(watched):
    watched.run(1_000, 0.8)
    watched.run(2_000, 0.97)
    assert not tripped(watched.version, STUDENT, watched.rules)
    assert watched.expected > 0.89


def test_the_false_alarms_are_divided_over_the_monitors(watched):
    rules, watch = watched.rules, task_settings().watch
    parts = [watch.horizon / rules.student_limit] + [watch.horizon / rules.limit] * 2 + [rules.baseline_error] * 4
    assert sum(parts) == pytest.approx(watch.false_alarms)


def test_the_margin_takes_the_bets_on_small_drops_away():
    watched = Watched(margin=0.1)
    assert watched.version.detector.bets == bets_beyond(0.1) == (0.25, 0.5)
    watched.run(1_500, 0.93)
    watched.run(1_500, 0.88)
    assert not tripped(watched.version, STUDENT, watched.rules)
    assert watched.run(300, 0.5, until_tripped=True) < 80
    assert not tripped(watched.version, CLASSES, watched.rules) or watched.version.number > 3_000
