"""Numbers that nothing renews are not green for ever."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from core.ledger import Ledger
from core.records import Outcome
from monitoring.alarms import Reviewer
from monitoring.rules import rules_of
from monitoring.signals import STALENESS
from monitoring.staleness import AGREEMENT, FEEDBACK, GOLDEN, Freshness, stale_sources
from monitoring.state import TaskState
from tests.support.monitoring_world import NOON, World, task_settings, trust_rows

HOUR = 3600.0
MINUTES = 4  # between two exchanges: 24 hours hold 360


class Clocked:
    """Traffic by an injected clock, and a monitor that looks with every exchange."""

    def __init__(self, ledger: Ledger, world: World, minutes: float = MINUTES, **watch) -> None:
        self.ledger, self.world, self.minutes, self.now = ledger, world, minutes, NOON
        settings = task_settings(**watch)
        self.rules = rules_of(settings)
        self.reviewer = Reviewer("desk", ledger, self.rules, settings.watch)
        self.state = TaskState("desk")
        self.state.begin("1", self.rules, {row.label: row for row in trust_rows()})

    def run(self, hours: float, *, compared: bool, outcome: Outcome | None = None) -> None:
        for _ in range(round(hours * 60 / self.minutes)):
            self.now += self.minutes * 60
            exchange, comparison = self.world.pair(drawn=True)
            assert comparison is not None
            exchange = msgspec.structs.replace(exchange, at=self.now)
            self.state.observe_exchange(exchange, self.rules)
            if outcome is not None:
                comparison = msgspec.structs.replace(comparison, outcome=outcome, teacher_label=None)
            if compared or outcome is not None:
                self.state.observe(msgspec.structs.replace(comparison, at=self.now), self.rules)
            self.reviewer.review(self.state, self.now)

    @property
    def alarm(self):
        return next((one for one in self.ledger.alarms.open("desk") if one.cause == STALENESS), None)

    @property
    def is_old(self) -> bool:
        watched = self.state.watched
        assert watched is not None
        return watched.freshness.is_old(self.state.staleness.looked_at, self.rules.stale_seconds)


def test_traffic_without_comparisons_is_an_alarm_until_they_come_again(ledger, world):
    clocked = Clocked(ledger, world)
    clocked.run(30, compared=True)
    assert clocked.alarm is None
    clocked.run(20, compared=False)
    assert clocked.alarm is None
    assert not clocked.is_old
    clocked.run(8, compared=False)
    assert clocked.alarm is not None
    assert not clocked.alarm.retrain
    assert clocked.alarm.evidence["sources"] == [AGREEMENT]
    assert "is the shadow worker running?" in clocked.alarm.evidence["what"]
    assert clocked.is_old
    clocked.run(1, compared=True)
    assert clocked.alarm is None
    assert not clocked.is_old


def test_it_says_what_became_of_the_questions(ledger, world):
    clocked = Clocked(ledger, world)
    clocked.run(10, compared=True)
    clocked.run(26, compared=False, outcome=Outcome.TIMED_OUT)
    assert clocked.alarm.evidence["without_answer_since"]["timed_out"] > 300
    assert "timed out" in clocked.alarm.evidence["what"]


def test_a_task_that_nobody_uses_is_no_alarm_though_its_numbers_are_unknown(ledger, world):
    clocked = Clocked(ledger, world)
    clocked.run(10, compared=True)
    clocked.now += 72 * HOUR
    clocked.reviewer.review(clocked.state, clocked.now)
    assert clocked.alarm is None
    assert clocked.is_old


def test_little_traffic_cannot_be_expected_to_be_compared(ledger, world):
    clocked = Clocked(ledger, world, minutes=120)
    clocked.run(24, compared=True)
    clocked.run(72, compared=False)
    assert clocked.alarm is None, "36 exchanges at a tenth: none drawn is nothing unheard of"
    assert clocked.is_old


def test_a_restart_neither_forgets_nor_invents_anything(ledger, world):
    clocked = Clocked(ledger, world)
    clocked.run(10, compared=True)
    clocked.run(20, compared=False)
    clocked.state = msgspec.msgpack.decode(msgspec.msgpack.encode(clocked.state), type=TaskState)
    assert clocked.alarm is None
    clocked.run(8, compared=False)
    assert clocked.alarm is not None


def test_a_monitor_that_catches_up_waits_for_the_comparisons(ledger, world):
    """It reads days of exchanges at once, and their comparisons next."""
    clocked = Clocked(ledger, world)
    clocked.run(5, compared=True)
    late = []
    for _ in range(900):
        clocked.now += MINUTES * 60
        exchange, comparison = world.pair(drawn=True)
        clocked.state.observe_exchange(msgspec.structs.replace(exchange, at=clocked.now), clocked.rules)
        late.append(msgspec.structs.replace(comparison, at=clocked.now))
    clocked.reviewer.review(clocked.state, clocked.now)
    assert clocked.alarm is None
    for comparison in late:
        clocked.state.observe(comparison, clocked.rules)
    clocked.reviewer.review(clocked.state, clocked.now + 120)
    assert clocked.alarm is None
    assert clocked.state.staleness.since == 0


def test_it_can_be_switched_off(ledger, world):
    clocked = Clocked(ledger, world, stale_hours=None)
    clocked.run(5, compared=True)
    clocked.run(60, compared=False)
    assert clocked.alarm is None
    assert not clocked.is_old


def test_feedback_that_was_regular_is_missed_and_the_golden_set_too(ledger, world):
    clocked = Clocked(ledger, world)
    for _ in range(40):
        clocked.run(0.5, compared=True)
        clocked.state.feedback_freshness.came(clocked.now)
    clocked.state.golden.asked_at = clocked.now
    clocked.run(23, compared=True)
    assert clocked.alarm is None
    clocked.run(5, compared=True)
    assert clocked.alarm.evidence["sources"] == [FEEDBACK]
    clocked.run(46, compared=True)
    assert clocked.alarm.evidence["sources"] == [FEEDBACK, GOLDEN]
    clocked.state.feedback_freshness.came(clocked.now)
    clocked.state.golden.asked_at = clocked.now
    assert stale_sources(clocked.state, clocked.rules) == []


@pytest.mark.parametrize("sampled", [True, False])
def test_cascades_count_only_where_nothing_is_sampled(world, sampled):
    rules = rules_of(task_settings())
    if not sampled:
        rules = replace(rules, stale_exchanges=None)
    world.untrusted = set(world.agreement)
    comparison = world.pair(drawn=True)[1]
    assert comparison is not None
    fresh = Freshness()
    fresh.exchange(NOON - 10)
    fresh.compared(comparison, rules)
    assert fresh.times == (0 if sampled else 1)


@pytest.mark.parametrize("hours", [1.0, 24.0])
def test_age_goes_by_the_clock(hours):
    fresh = Freshness(at=NOON)
    assert not fresh.is_old(NOON + hours * HOUR - 1, hours * HOUR)
    assert fresh.is_old(NOON + hours * HOUR, hours * HOUR)
