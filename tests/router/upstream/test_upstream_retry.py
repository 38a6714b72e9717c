from hypothesis import given
from hypothesis import strategies as st

from core.settings import RetrySettings
from router.upstream.retry import RetryBudget

RULES = RetrySettings(share=0.2, minimum=3, window_seconds=10)


@given(st.integers(0, 300), st.integers(0, 300))
def test_retries_are_a_share_of_the_requests_and_a_few(requests, wanted):
    budget = RetryBudget(RULES, 0.0)
    for _ in range(requests):
        budget.earn(0.5)
    spent = 0
    for _ in range(wanted):
        if budget.allows(0.5):
            budget.spend(0.5)
            spent += 1
    assert spent == min(wanted, -(-(15 + requests) // 5))


def test_it_is_earned_anew():
    budget = RetryBudget(RULES, 0.0)
    for _ in range(3):
        budget.spend(0.0)
    assert not budget.allows(8.0)
    assert budget.allows(11.0)
