import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from core.records import Reason
from core.settings import FallbackSettings
from router.upstream.fallback_budget import COUNTED, FallbackBudget

NOON = 20_000 * 86_400 + 43_200.0


class Clock:
    def __init__(self, now=NOON):
        self.now = now

    def __call__(self):
        return self.now


def budget(clock=None, **settings):
    return FallbackBudget("desk", FallbackSettings(**settings), clock or Clock())


def test_without_limits_everything_is_allowed():
    found = budget()
    for reason in Reason:
        assert found.allows(reason)
        found.by_teacher(reason, 1.0)
    assert found.used == 0
    assert not found.warning
    assert found.left_for_shadow() is None
    assert found.dollars_today == len(Reason)


@given(st.lists(st.booleans(), min_size=60, max_size=300), st.sampled_from([0.1, 0.3, 0.5, 1.0]))
def test_the_share_is_never_exceeded_once_it_counts(wants_teacher, share):
    found = budget(max_share=share, min_requests=20)
    for number, wants in enumerate(wants_teacher):
        if wants and found.allows(Reason.LOW_CONFIDENCE):
            found.by_teacher(Reason.LOW_CONFIDENCE, 0.0)
            assert number < 20 or found.share <= max(share, 20 / (number + 1)) + 1e-9
        else:
            found.by_student()


def test_what_no_student_can_answer_is_outside_the_share():
    found = budget(max_share=0.1, min_requests=1)
    for reason in set(Reason) - COUNTED:
        for _ in range(20):
            assert found.allows(reason)
            found.by_teacher(reason, 0.0)
    assert found.share == 0
    assert not found.allows(Reason.NOT_TRUSTED) or found.share == 0


def test_the_window_slides():
    clock = Clock()
    found = budget(clock, max_share=0.5, min_requests=10, window_minutes=10)
    for _ in range(10):
        found.by_teacher(Reason.NOT_TRUSTED, 0.0)
    assert not found.allows(Reason.NOT_TRUSTED)
    assert found.refused == 1
    clock.now += 601
    assert found.allows(Reason.NOT_TRUSTED)


def test_dollars_hold_for_every_reason_until_midnight():
    clock = Clock()
    found = budget(clock, dollars_per_day=1.0)
    found.by_teacher(Reason.NO_STUDENT, 0.6)
    assert found.allows(Reason.FORCED)
    found.spent(0.4)
    assert not any(found.allows(reason) for reason in Reason)
    clock.now = NOON + 43_199
    assert not found.allows(Reason.NO_STUDENT)
    clock.now += 1
    assert found.allows(Reason.NO_STUDENT)
    assert found.dollars_today == 0


def test_it_warns_once_before_it_is_spent_and_says_when_it_has_recovered():
    clock = Clock()
    found = budget(clock, dollars_per_day=10.0)
    with capture_logs() as logs:
        for _ in range(100):
            found.spent(0.1)
            assert found.warning == (found.dollars_today >= 8.0)
        clock.now += 86_400
        assert not found.warning
        assert found.used == 0
    assert [log["event"] for log in logs] == ["fallback_budget_nearly_spent", "fallback_budget_recovered"]
    assert logs[0]["task"] == "desk"
    assert logs[0]["used"] == pytest.approx(0.8, abs=0.011)


def test_it_warns_of_the_share_as_well():
    found = budget(max_share=0.5, min_requests=10)
    for _ in range(12):
        found.by_student()
    assert not found.warning
    for _ in range(8):
        found.by_teacher(Reason.RETRY_FALLBACK, 0.0)
    assert found.warning
    assert found.used == pytest.approx(0.8)


def test_shadow_gets_what_falling_back_will_not_need():
    clock = Clock()
    found = budget(clock, dollars_per_day=10.0)
    assert found.left_for_shadow() == 10.0
    assert found.shadow_scale == 1.0
    found.spent(2.0)  # in half a day, so two more are to come
    assert found.left_for_shadow() == pytest.approx(6.0)
    found.spent(2.75)  # 4.75 until now, as much ahead: half of the tenth at which shadow calls become rarer
    assert found.shadow_scale == pytest.approx(0.5)
    found.spent(3.25)
    assert found.shadow_scale == 0.0
    assert found.left_for_shadow() == 0.0
