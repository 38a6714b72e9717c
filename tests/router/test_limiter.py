"""Limits in one worker, without Redis: the clock is ours, and nothing waits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import QuotaExceededError, RateLimitedError, UnavailableError
from core.ledger import ApiKey, Ledger
from core.limits import Limits
from router.admission.grants import UNLIMITED
from router.admission.headers import duration
from router.admission.limiter import Limiter

NOWHERE = "redis://127.0.0.1:1/0"
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp()


@dataclass
class Clock:
    """Tells both times; only tests move it."""

    seconds: float = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def wall(self) -> float:
        return NOON + self.seconds


def a_key(limits: Limits, identifier: str = "k1", name: str = "batch") -> ApiKey:
    return ApiKey(identifier, name, b"", frozenset(), limits, 0.0)


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    return f"sqlite:///{tmp_path_factory.mktemp('ledger')}/ledger.db"


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    ledger.migrate()
    yield ledger
    ledger.close()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def make(ledger, clock):
    def made(tasks: dict[str, Limits] | None = None, **options) -> Limiter:
        return Limiter(tasks or {}, NOWHERE, ledger, clock=clock.monotonic, wall=clock.wall, **options)

    return made


def admitted(limiter: Limiter, key: ApiKey | None, tries: int, tokens: int = 0) -> int:
    passed = 0
    for _ in range(tries):
        try:
            limiter.admit(key, "desk", tokens)
        except RateLimitedError:
            continue
        passed += 1
    return passed


def test_without_limits_there_is_one_grant_for_all(make):
    limiter = make()
    grant = limiter.admit(None, "desk", 100)
    assert grant is limiter.admit(a_key(Limits()), "desk", 100) is UNLIMITED
    grant.settle(10, 1.0)
    assert grant.headers == []
    assert limiter.keys == 0


def test_a_minutes_limit_may_be_used_at_once_and_refills_evenly(make, clock):
    limiter, key = make(), a_key(Limits(requests_per_minute=60))
    assert admitted(limiter, key, 100) == 60
    clock.seconds += 10
    assert admitted(limiter, key, 100) == 10
    clock.seconds += 3600
    assert admitted(limiter, key, 100) == 60
    assert limiter.refused == {("key", "requests"): 40 + 90 + 40}


@pytest.mark.parametrize("rate", [1, 7, 60, 1000, 90_001])
def test_who_waits_as_long_as_told_passes_and_not_much_earlier(make, clock, rate):
    limiter, key = make(), a_key(Limits(requests_per_minute=rate))
    assert admitted(limiter, key, rate) == rate
    with pytest.raises(RateLimitedError, match=rf"'batch' is limited to {rate} requests a minute") as caught:
        limiter.admit(key, "desk", 0)
    assert caught.value.retry_after == pytest.approx(60 / rate, abs=0.0021)
    clock.seconds += caught.value.retry_after - 0.0021
    assert admitted(limiter, key, 1) == (1 if 60 / rate < 0.0001 else 0)
    clock.seconds += 0.0021
    assert admitted(limiter, key, 1) == 1


def test_the_task_and_the_key_must_both_allow_it(make):
    limiter = make({"desk": Limits(requests_per_minute=3)})
    first, second = a_key(Limits(requests_per_minute=2), "a"), a_key(Limits(requests_per_minute=2), "b")
    assert [admitted(limiter, key, 5) for key in (first, second)] == [2, 1]
    with pytest.raises(RateLimitedError, match="the task 'desk'"):
        limiter.admit(second, "desk", 0)
    assert limiter.admit(second, "other", 0).headers[1] == (b"x-ratelimit-remaining-requests", b"0")


def test_a_key_is_not_charged_where_the_task_refuses(make):
    limiter, key = make({"desk": Limits(tokens_per_minute=10)}), a_key(Limits(requests_per_minute=2))
    assert admitted(limiter, key, 50, tokens=11) == 0
    assert admitted(limiter, key, 5, tokens=1) == 2


def test_tokens_are_corrected_once_the_answer_is_over(make, clock):
    limiter, key = make(), a_key(Limits(tokens_per_minute=600))
    grant = limiter.admit(key, "desk", 600)
    with pytest.raises(RateLimitedError) as caught:
        limiter.admit(key, "desk", 10)
    assert caught.value.retry_after == pytest.approx(1.0, abs=0.002)
    grant.settle(100, 0.0)
    grant.settle(0, 0.0)  # counts no more
    assert grant.headers[1] == (b"x-ratelimit-remaining-tokens", b"500")
    limiter.admit(key, "desk", 500).settle(800, 0.0)
    with pytest.raises(RateLimitedError) as caught:
        limiter.admit(key, "desk", 1)
    assert caught.value.retry_after == pytest.approx(30.1, abs=0.002)  # a debt of 300 at 10 a second, and 1
    clock.seconds += caught.value.retry_after
    limiter.admit(key, "desk", 1)


def test_a_request_that_can_never_pass_says_so(make):
    limiter = make()
    with pytest.raises(RateLimitedError, match="alone needs 101; make it shorter") as caught:
        limiter.admit(a_key(Limits(tokens_per_minute=100)), "desk", 101)
    assert caught.value.retry_after is None
    assert (b"x-should-retry", b"false") in caught.value.headers


def test_headers_are_those_of_whichever_is_tighter(make, clock):
    limiter = make({"desk": Limits(requests_per_minute=100, tokens_per_minute=500)})
    key = a_key(Limits(requests_per_minute=60, tokens_per_minute=6000))
    assert limiter.admit(key, "desk", 50).headers == [
        (b"x-ratelimit-limit-requests", b"60"),
        (b"x-ratelimit-remaining-requests", b"59"),
        (b"x-ratelimit-reset-requests", b"1s"),
        (b"x-ratelimit-limit-tokens", b"500"),
        (b"x-ratelimit-remaining-tokens", b"450"),
        (b"x-ratelimit-reset-tokens", b"6s"),
    ]
    with pytest.raises(RateLimitedError) as caught:
        limiter.admit(key, "desk", 480)
    assert (b"x-ratelimit-remaining-tokens", b"450") in caught.value.headers


def test_durations_are_written_as_openai_does():
    given = [0, 0.0004, 0.02, 1, 7.66, 59.9996, 61.5, 360, 3600, 3725.001]
    expected = ["0s", "1ms", "20ms", "1s", "7.66s", "1m0s", "1m1.5s", "6m0s", "1h0m0s", "1h2m5.001s"]
    assert [duration(seconds).decode() for seconds in given] == expected


def test_changed_limits_hold_at_once_and_forget_nothing(make, clock):
    limiter = make()
    assert admitted(limiter, a_key(Limits(requests_per_minute=10)), 4) == 4
    assert admitted(limiter, a_key(Limits(requests_per_minute=5)), 9) == 5
    assert admitted(limiter, a_key(Limits(requests_per_minute=60)), 9) == 0
    clock.seconds += 5
    assert admitted(limiter, a_key(Limits(requests_per_minute=60)), 9) == 5
    with pytest.raises(RateLimitedError, match="tokens"):
        limiter.admit(a_key(Limits(tokens_per_minute=3)), "desk", 4)


async def test_a_budget_is_spent_when_the_sum_reaches_it(make, clock):
    limiter, key = make(), a_key(Limits(dollars_per_day=1.0, dollars_per_month=2.5))
    await limiter.sync()
    under_way = [limiter.admit(key, "desk", 0) for _ in range(3)]
    for grant in under_way:
        grant.settle(10, 0.5)  # the third was under way when the sum was reached
    with pytest.raises(QuotaExceededError, match=r"'batch' has spent its \$1 of this day.*2026-02-01 00:00") as caught:
        limiter.admit(key, "desk", 0)
    assert (caught.value.status, caught.value.code) == (429, "insufficient_quota")
    assert caught.value.headers == ((b"x-should-retry", b"false"),)
    clock.seconds += 12 * 3600  # the next day, and the next month
    await limiter.sync()
    limiter.admit(key, "desk", 0).settle(10, 1.0)
    clock.seconds += 24 * 3600
    await limiter.sync()
    limiter.admit(key, "desk", 0).settle(10, 1.5)
    clock.seconds += 24 * 3600
    await limiter.sync()
    with pytest.raises(QuotaExceededError, match=r"\$2.5 of this month.*2026-03-01"):
        limiter.admit(key, "desk", 0)
    assert limiter.refused == {("key", "day"): 1, ("key", "month"): 1}
    await limiter.close()


async def test_a_task_s_budget_counts_all_keys(make):
    limiter = make({"desk": Limits(dollars_per_day=1.0)})
    limiter.admit(a_key(Limits()), "desk", 0).settle(1, 0.4)
    limiter.admit(None, "desk", 0).settle(1, 0.6)
    with pytest.raises(QuotaExceededError, match="the task 'desk'"):
        limiter.admit(None, "desk", 0)
    await limiter.close()


async def test_without_redis_workers_add_up_dollars_in_the_ledger(make, clock):
    key = a_key(Limits(dollars_per_day=10.0))
    first, second = make(), make()
    for limiter, dollars in ((first, 4.0), (second, 3.0)):
        await limiter.sync()
        limiter.admit(key, "desk", 0).settle(1, dollars)
    for limiter in (first, second, first):
        clock.seconds += 6
        await limiter.sync()
    first.admit(key, "desk", 0).settle(1, 1.0)
    clock.seconds += 6
    await first.sync()  # 4 + 3 + 1
    third = make()  # as if the others had been killed
    await third.sync()
    third.admit(key, "desk", 0).settle(1, 2.0)
    with pytest.raises(QuotaExceededError):
        third.admit(key, "desk", 0)
    assert third.ledger_up
    assert not third.redis_up
    for limiter in (first, second, third):
        await limiter.close()


async def test_closed_means_that_nobody_passes_whose_limits_cannot_be_checked(make):
    limiter = make({"desk": Limits(requests_per_minute=100)}, without_redis="closed")
    await limiter.sync()
    with pytest.raises(UnavailableError, match="limits_without_redis") as caught:
        limiter.admit(None, "desk", 0)
    assert caught.value.code == "limits_unavailable"
    with pytest.raises(UnavailableError):
        limiter.admit(a_key(Limits(dollars_per_day=5.0)), "other", 0)
    assert limiter.admit(a_key(Limits(), "free"), "other", 0) is UNLIMITED
    await limiter.close()


async def test_open_means_that_a_worker_keeps_the_limits_alone(make, clock):
    limiter = make({"desk": Limits(requests_per_minute=30)})
    for _ in range(3):
        await limiter.sync()
        clock.seconds += 1.0
    assert admitted(limiter, None, 100) == 30
    clock.seconds += 30.0
    await limiter.sync()
    assert admitted(limiter, None, 100) == 15
    await limiter.close()


async def test_a_ledger_that_is_away_is_no_reason_to_stop(tmp_path, clock):
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    (tmp_path / "ledger.db").mkdir()
    limiter = Limiter({}, NOWHERE, ledger, clock=clock.monotonic, wall=clock.wall)
    key = a_key(Limits(dollars_per_day=1.0))
    limiter.admit(key, "desk", 0).settle(1, 1.0)
    await limiter.sync()
    assert not limiter.ledger_up
    with pytest.raises(QuotaExceededError):
        limiter.admit(key, "desk", 0)
    (tmp_path / "ledger.db").rmdir()
    clock.seconds += 6
    await limiter.sync()
    assert limiter.ledger_up
    assert set(ledger.spend.current(clock.wall()).values()) == {1.0}
    await limiter.close()
    ledger.close()


events = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.001, 0.1, 0.7, 5.0, 100.0]), st.integers(0, 30), st.integers(-10, 20), st.booleans()
    ),
    max_size=60,
)


@given(events=events, requests=st.integers(1, 20), tokens=st.integers(1, 90))
@settings(max_examples=150, deadline=None)
def test_one_worker_admits_what_a_token_bucket_would_and_never_more_than_a_window_allows(url, events, requests, tokens):
    """In any t seconds at most a minute's limit and t/60 of it: the intervals between any two admissions are tried."""
    clock, ledger = Clock(), Ledger(url)
    limiter = Limiter({}, NOWHERE, ledger, clock=clock.monotonic, wall=clock.wall)
    key = a_key(Limits(requests_per_minute=requests, tokens_per_minute=tokens))
    left_requests, left_tokens = float(requests), float(tokens)
    passed: list[tuple[float, int, int]] = []
    for pause, need, correction, settled in events:
        clock.seconds += pause
        left_requests = min(left_requests + pause * requests / 60, requests)
        left_tokens = min(left_tokens + pause * tokens / 60, tokens)
        try:
            grant = limiter.admit(key, "desk", need)
        except RateLimitedError:
            assert left_requests < 1 + 1e-9 or left_tokens < need + 1e-9
            continue
        assert left_requests > 1 - 1e-9
        assert left_tokens > need - 1e-9
        left_requests -= 1
        left_tokens -= need
        more = max(correction, -need) if settled else 0
        grant.settle(need + more, 0.0)
        left_tokens -= more
        passed.append((clock.seconds, need + more, max(more, 0)))
    for first, (start, _, _) in enumerate(passed):
        used = 0
        for count, (end, took, unforeseen) in enumerate(passed[first:], 1):
            used += took
            assert count <= requests * (1 + (end - start) / 60) + 1e-6
            assert used <= tokens * (1 + (end - start) / 60) + unforeseen + 1e-6
    ledger.close()
