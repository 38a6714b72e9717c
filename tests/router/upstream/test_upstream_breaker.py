import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from core.settings import BreakerSettings
from router.upstream.breaker import REFUSED, Breaker, BreakerState

RULES = BreakerSettings(
    consecutive_failures=3,
    failure_ratio=0.5,
    min_requests=8,
    window_seconds=30,
    open_seconds=1,
    max_open_seconds=10,
    probes=2,
)


def breaker(**changes):
    return Breaker(RULES.model_copy(update=changes), 0.0, lambda: 0.0)


def fail(found: Breaker, now: float, times: int = 1):
    for _ in range(times):
        found.failed(found.admit(now), now)


def succeed(found: Breaker, now: float, times: int = 1):
    for _ in range(times):
        found.succeeded(found.admit(now), now)


def test_failures_in_a_row_open_it_and_a_success_between_them_does_not():
    found = breaker(min_requests=1000)
    for _ in range(20):
        fail(found, 0, 2)
        succeed(found, 0)
    assert found.state is BreakerState.CLOSED
    fail(found, 0, 3)
    assert found.state is BreakerState.OPEN
    assert found.admit(0.99) == REFUSED
    assert not found.admits(0.99)


def test_a_share_of_failures_opens_it_once_there_are_enough_requests():
    found = breaker(consecutive_failures=1000)
    for second in range(3):
        succeed(found, second)
        fail(found, second)
    assert found.state is BreakerState.CLOSED
    succeed(found, 3)
    fail(found, 3)
    assert found.state is BreakerState.OPEN


def test_old_failures_are_forgotten():
    found = breaker(consecutive_failures=1000)
    fail(found, 0, 7)
    succeed(found, 40, 7)
    fail(found, 40, 2)
    assert found.state is BreakerState.CLOSED


def test_it_is_probed_by_so_many_requests_and_no_more():
    found = breaker()
    fail(found, 0, 3)
    first, second = found.admit(1), found.admit(1)
    assert found.state is BreakerState.HALF_OPEN
    assert found.admit(1) == REFUSED
    found.succeeded(first, 1)
    assert found.admit(1) == REFUSED
    found.abandoned(second)
    third = found.admit(1)
    assert third != REFUSED
    found.succeeded(third, 1)
    assert found.state is BreakerState.CLOSED


def test_it_stays_open_twice_as_long_each_time_up_to_a_bound():
    found, now, lengths = breaker(), 0.0, []
    fail(found, now, 3)
    for _ in range(6):
        lengths.append(found.open_until - now)
        now = found.open_until
        fail(found, now)
    assert lengths == [1, 2, 4, 8, 10, 10]
    succeed(found, found.open_until, 2)
    fail(found, found.open_until, 3)  # it was well for no time at all
    assert found.state is BreakerState.OPEN
    now = found.open_until
    succeed(found, now, 2)
    fail(found, now + 11, 3)
    assert found.open_until == now + 12


def test_jitter_takes_off_a_fifth_at_most():
    found = Breaker(RULES, 0.0, lambda: 0.999999)
    fail(found, 0, 3)
    assert found.open_until == pytest.approx(0.8, abs=1e-5)


def test_what_comes_late_changes_nothing():
    found = breaker()
    old = [found.admit(0) for _ in range(9)]
    fail(found, 0, 3)
    probe = found.admit(1)
    found.succeeded(old[0], 1)
    found.failed(old[1], 1)
    found.abandoned(old[2])
    assert found.state is BreakerState.HALF_OPEN
    found.succeeded(probe, 1)
    succeed(found, 1)
    assert found.state is BreakerState.CLOSED
    for permit in old[3:]:
        found.failed(permit, 1)
    assert found.state is BreakerState.CLOSED


def test_seen_alive_it_probes_at_once():
    found = breaker()
    fail(found, 0, 3)
    found.reconsider(0.1)
    assert found.admits(0.1)
    assert found.state is BreakerState.OPEN  # only a real request closes it


class AnyTraffic(RuleBasedStateMachine):
    """Whatever comes, in whatever order: the promises hold."""

    @initialize(probes=st.integers(1, 3), failures=st.integers(1, 4), least=st.integers(1, 10))
    def start(self, probes, failures, least):
        self.rules = RULES.model_copy(
            update={"probes": probes, "consecutive_failures": failures, "min_requests": least}
        )
        self.now = 0.0
        self.breaker = Breaker(self.rules, self.now, lambda: 0.5)
        self.under_way: list[tuple[int, BreakerState]] = []
        self.in_a_row = 0

    @rule(seconds=st.floats(0, 15))
    def wait(self, seconds):
        self.now += seconds

    @rule()
    def ask(self):
        before, admits = self.breaker.state, self.breaker.admits(self.now)
        permit = self.breaker.admit(self.now)
        assert admits == (permit != REFUSED)
        assert self.breaker.admits(self.now) or permit != REFUSED or self.breaker.state is not BreakerState.CLOSED
        if before is BreakerState.CLOSED:
            assert permit != REFUSED
        if permit != REFUSED:
            assert self.breaker.state is not BreakerState.OPEN
            self.under_way.append((permit, self.breaker.state))

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), outcome=st.sampled_from(["succeeded", "failed", "abandoned"]))
    def end(self, data, outcome):
        permit, given_in = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
        before, openings = self.breaker.state, self.breaker.openings
        if outcome == "abandoned":
            self.breaker.abandoned(permit)
            assert self.breaker.state is before
        else:
            getattr(self.breaker, outcome)(permit, self.now)
        after = self.breaker.state
        if before is not after:  # only a permit of the state that ends can end it
            assert before is given_in
            assert (before, after) in {
                (BreakerState.CLOSED, BreakerState.OPEN),
                (BreakerState.HALF_OPEN, BreakerState.OPEN),
                (BreakerState.HALF_OPEN, BreakerState.CLOSED),
            }
            assert (after is BreakerState.OPEN) == (outcome == "failed")
        assert self.breaker.openings == openings + (after is BreakerState.OPEN and before is not after)

    @invariant()
    def open_times_are_bounded(self):
        if getattr(self, "breaker", None) is not None and self.breaker.state is BreakerState.OPEN:
            assert self.breaker.open_until <= self.now + self.rules.max_open_seconds

    @invariant()
    def it_never_gets_stuck(self):
        """Once everybody has come back, whoever waits long enough is let through."""
        if getattr(self, "breaker", None) is not None and not self.under_way:
            assert self.breaker.admits(self.now + self.rules.max_open_seconds)


AnyTraffic.TestCase.settings = hypothesis_settings(max_examples=150, stateful_step_count=40, deadline=None)
TestAnyTraffic = AnyTraffic.TestCase
