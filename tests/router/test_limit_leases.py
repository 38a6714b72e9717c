"""Limits that several workers share, on a real Redis. Workers are Limiters; one that is killed just stops."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import QuotaExceededError, RateLimitedError, UnavailableError
from core.ledger import ApiKey, Ledger
from core.limits import Limits
from core.redis_server import start_redis
from router.admission.limiter import Limiter

TICK = 0.11  # a little more than the shortest pause between two renewals


@dataclass
class Fleet:
    """Workers with one clock, which is Redis' own plus what a test adds."""

    url: str
    ledger: Ledger
    lease_seconds: float = 10.0
    added: float = 0.0
    workers: list[Limiter] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def clock(self) -> float:
        return time.monotonic() + self.added

    def wall(self) -> float:
        """Noon of tomorrow to begin with, so that no day ends in a test, nor what Redis keeps until then."""
        return (time.time() // 86_400 + 1.5) * 86_400 + self.added

    @property
    def elapsed(self) -> float:
        """Seconds by the workers' clock and by Redis' clock together: either may have refilled something."""
        return 2 * (time.monotonic() - self.started) + self.added

    async def hire(self, **options) -> Limiter:
        worker = Limiter(
            options.pop("tasks", {}),
            self.url,
            self.ledger,
            lease_seconds=self.lease_seconds,
            clock=self.clock,
            wall=self.wall,
            **options,
        )
        self.workers.append(worker)
        await self.sync(worker)
        return worker

    async def sync(self, *workers: Limiter, times: int = 1) -> None:
        """Let workers renew, one after the other."""
        for _ in range(times):
            self.added += TICK
            for worker in workers or self.workers:
                await worker.sync()

    async def tell(self) -> None:
        """Let every worker tell of its dollars, and those that are awake hear of the others'."""
        for _ in range(2):
            self.added += 0.5
            await self.sync()

    async def kill(self, worker: Limiter) -> None:
        """Its connections close; it says nothing."""
        self.workers.remove(worker)
        await worker._store.close()


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    ledger.migrate()
    yield ledger
    ledger.close()


@pytest.fixture
async def fleet(redis_url, ledger):
    fleet = Fleet(redis_url, ledger)
    yield fleet
    for worker in fleet.workers:
        await worker.close()


def a_key(identifier: str = "k1", **limits) -> ApiKey:
    return ApiKey(identifier, "batch", b"", frozenset(), Limits(**limits), 0.0)


def burst(worker: Limiter, key: ApiKey, tries: int, tokens: int = 0) -> int:
    passed = 0
    for _ in range(tries):
        with contextlib.suppress(RateLimitedError):
            worker.admit(key, "desk", tokens)
            passed += 1
    return passed


async def test_a_single_worker_has_the_whole_limit_at_once(fleet):
    worker, key = await fleet.hire(), a_key(requests_per_minute=500)
    assert worker.redis_up
    assert worker.workers == 1
    assert burst(worker, key, 200) == 200
    await fleet.sync(times=3)
    assert burst(worker, key, 500) in (300, 301, 302, 303)


async def test_a_worker_that_never_saw_the_key_has_its_part_at_once_and_the_rest_soon(fleet):
    first, *_ = [await fleet.hire() for _ in range(4)]
    await asyncio.sleep(0)
    fleet.added += 1.0
    await fleet.sync()
    assert first.workers == 4
    key = a_key(requests_per_minute=400)
    assert burst(first, key, 400) == 101  # its part, and one request owed
    await fleet.sync(first)
    await asyncio.sleep(0.3)  # in which others might have said that they had used theirs
    await fleet.sync(first)
    assert 298 <= burst(first, key, 400) <= 303


async def test_what_one_does_not_use_another_may(fleet):
    first, second = [await fleet.hire() for _ in range(2)]
    key = a_key(requests_per_minute=600)
    for _ in range(10):
        assert burst(first, key, 5) == 5
        assert burst(second, key, 5) == 5
        await fleet.sync()
    assert 240 <= burst(first, key, 600) < 300
    await fleet.sync(times=8)  # the other one's part comes over, as it asks for less
    assert burst(first, key, 600) > 150


async def test_a_large_request_passes_where_the_whole_holds_enough(fleet):
    first, second = [await fleet.hire() for _ in range(2)]
    fleet.added += 1.0
    await fleet.sync()
    key = a_key(tokens_per_minute=1000)
    assert burst(first, key, 1, tokens=900) == 1
    await fleet.sync()
    assert burst(second, key, 1, tokens=400) == 1  # it had not heard of it: the documented overshoot
    await fleet.sync(times=2)
    assert burst(first, key, 1, tokens=10) == 0  # the debt is paid before anything passes here


async def test_a_client_that_moves_to_another_worker_is_not_refused(fleet):
    first, second = [await fleet.hire() for _ in range(2)]
    key = a_key(requests_per_minute=6000)
    for _ in range(20):
        assert burst(first, key, 10) == 10
        await fleet.sync()
    for _ in range(60):
        assert burst(second, key, 10) == 10
        await fleet.sync()


async def test_a_killed_worker_s_lease_comes_back(redis_url, ledger):
    fleet = Fleet(redis_url, ledger, lease_seconds=0.5)
    dead, alive = [await fleet.hire() for _ in range(2)]
    key = a_key(requests_per_minute=1000)
    burst(dead, key, 10)
    await fleet.sync(times=2)
    await fleet.kill(dead)
    burst(alive, key, 1)
    await fleet.sync(times=2)
    before = burst(alive, key, 1000)
    assert before < 600
    await asyncio.sleep(0.6)
    fleet.added += 1.0
    await fleet.sync(times=2)
    assert alive.workers == 1
    after = burst(alive, key, 1000)
    assert 1000 - 12 <= 11 + before + after <= 1000 + 1000 / 60 * fleet.elapsed
    await alive.close()


async def test_leases_are_given_back_on_leaving(fleet):
    first, second = [await fleet.hire() for _ in range(2)]
    key = a_key(requests_per_minute=1000)
    burst(first, key, 100)
    await fleet.sync(first, times=2)
    fleet.workers.remove(first)
    await first.close()
    burst(second, key, 1)
    await fleet.sync(times=12)
    assert second.workers == 1
    assert burst(second, key, 2000) >= 898


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.integers(0, 3), st.integers(1, 60)),
        st.tuples(st.just("sync"), st.integers(0, 3), st.integers(1, 2)),
        st.tuples(st.just("wait"), st.just(0), st.integers(1, 40)),
    ),
    max_size=40,
)


@given(steps=STEPS, limit=st.sampled_from([1, 5, 40, 200]), workers=st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_the_overshoot_is_bounded_whatever_happens(redis_server, tmp_path_factory, steps, limit, workers):
    """At most C + t C/60 + W (C/W + 1) in every interval that begins with a full bucket; one worker: C + t C/60."""
    ledger = Ledger(f"sqlite:///{tmp_path_factory.mktemp('bound')}/ledger.db")

    async def play() -> None:
        with redis.Redis.from_url(redis_server.url) as client:
            client.flushall()
        fleet = Fleet(redis_server.url, ledger)
        for _ in range(workers):
            await fleet.hire()
        fleet.added += 1.0
        await fleet.sync()  # now each has heard of all
        key = a_key(requests_per_minute=limit)
        fleet.started, fleet.added, passed = time.monotonic(), fleet.added, 0
        base = fleet.added
        for what, who, number in steps:
            worker = fleet.workers[who % workers]
            if what == "ask":
                passed += burst(worker, key, number)
            elif what == "sync":
                await fleet.sync(worker, times=number)
            else:
                fleet.added += number / 10
            seconds = fleet.elapsed - base
            owed = limit + workers if workers > 1 else 0
            assert passed <= limit * (1 + seconds / 60) + owed + 1e-6
        for worker in fleet.workers:
            await worker.close()

    asyncio.run(play())
    ledger.close()


async def hammer(worker: Limiter, key: ApiKey, seconds: float) -> int:
    passed, until = 0, time.monotonic() + seconds
    while time.monotonic() < until:
        passed += burst(worker, key, 5)
        await asyncio.sleep(0.002)
    return passed


async def test_four_workers_at_full_speed_use_the_limit_and_not_more(redis_url, ledger):
    seconds, limit, count = 3.0, 1200, 4
    workers = [Limiter({}, redis_url, ledger) for _ in range(count)]
    for worker in workers * 2:
        await worker.sync()
    running = [asyncio.create_task(worker.run()) for worker in workers]
    await asyncio.sleep(1.1)  # each has heard of all
    started = time.monotonic()
    passed = sum(await asyncio.gather(*(hammer(w, a_key(requests_per_minute=limit), seconds) for w in workers)))
    took = time.monotonic() - started
    assert limit * (1 + took / 60) - 30 <= passed <= limit * (1 + took / 60) + limit + count
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    for worker in workers:
        await worker.close()


async def test_a_redis_that_forgot_everything_costs_one_more_limit_at_most(fleet):
    workers = [await fleet.hire() for _ in range(3)]
    fleet.added += 1.0
    await fleet.sync()
    limit, key = 300, a_key(requests_per_minute=300)
    passed = 0
    for _ in range(6):
        passed += sum(burst(worker, key, 100) for worker in workers)
        await fleet.sync()
    with redis.Redis.from_url(fleet.url) as client:
        client.flushall()
    for _ in range(6):
        await fleet.sync()
        passed += sum(burst(worker, key, 100) for worker in workers)
    assert passed <= limit * (1 + fleet.elapsed / 60) + limit + 3


async def until_unavailable(worker: Limiter, key: ApiKey, fleet: Fleet) -> int:
    passed = 0
    for _ in range(1000):
        fleet.added += 0.1
        await worker.sync()
        try:
            passed += burst(worker, key, 1)
        except UnavailableError:
            return passed
    raise AssertionError("it never ended")


async def test_a_redis_that_went_away_and_came_back(tmp_path, free_port, ledger):
    folder, key = tmp_path / "redis", a_key(requests_per_minute=100)
    fleet = Fleet(f"redis://127.0.0.1:{free_port}/0", ledger)
    with start_redis(folder, free_port):
        opened, closed = await fleet.hire(), await fleet.hire(without_redis="closed")
        burst(opened, key, 1)
        burst(closed, key, 1)
        await fleet.sync(times=3)
    fleet.added += 1.0
    await fleet.sync()
    assert not opened.redis_up
    assert 0 < await until_unavailable(closed, key, fleet) <= 100  # the lease is used up first
    fleet.added += 60
    await opened.sync()
    await opened.sync()
    assert burst(opened, key, 200) == 100
    with start_redis(folder, free_port):
        fleet.added += 1.0
        await fleet.sync(times=2)
        assert opened.redis_up
        assert closed.redis_up
        fleet.added += 2.0
        await fleet.sync(times=3)
        burst(closed, key, 1)  # refused or not, but no longer for want of Redis
        for worker in fleet.workers:
            await worker.close()


async def test_dollars_are_added_up_and_survive_everything(fleet, ledger):
    first, second = await fleet.hire(), await fleet.hire()
    key = a_key(dollars_per_month=10.0)
    for _ in range(4):
        first.admit(key, "desk", 0).settle(1, 1.0)
        second.admit(key, "desk", 0).settle(1, 1.0)
    await fleet.tell()
    with redis.Redis.from_url(fleet.url) as client:
        client.flushall()
    first.admit(key, "desk", 0).settle(1, 1.0)
    await fleet.tell()
    second.admit(key, "desk", 0).settle(1, 1.0)
    await fleet.tell()
    first.admit(key, "desk", 0)  # it had not been asked since, and so not heard of it: the documented overshoot
    await fleet.tell()
    for worker in (first, second):
        with pytest.raises(QuotaExceededError):
            worker.admit(key, "desk", 0)
    fleet.added += 6
    await fleet.sync()
    assert list(ledger.spend.current(fleet.wall()).values()) == [10.0]
    for worker in (first, second):
        await fleet.kill(worker)
    with redis.Redis.from_url(fleet.url) as client:
        client.flushall()
    third = await fleet.hire()
    with pytest.raises(QuotaExceededError):
        third.admit(key, "desk", 0)


async def test_an_answer_of_redis_that_was_lost_counts_once(fleet, monkeypatch):
    worker, key = await fleet.hire(), a_key(dollars_per_day=10.0)
    worker.admit(key, "desk", 0).settle(1, 4.0)
    told = worker._store.spend

    async def told_in_vain(outlays):
        await told(outlays)
        raise redis.ConnectionError("the answer was lost")

    monkeypatch.setattr(worker._store, "spend", told_in_vain)
    await fleet.sync()
    assert not worker.redis_up
    monkeypatch.undo()
    await fleet.tell()
    other = await fleet.hire()
    other.admit(key, "desk", 0).settle(1, 5.0)
    await fleet.tell()
    worker.admit(key, "desk", 0).settle(1, 0.9)
    await fleet.tell()
    worker.admit(key, "desk", 0).settle(1, 0.2)  # had 4 been counted twice, it would be refused
    with pytest.raises(QuotaExceededError):
        worker.admit(key, "desk", 0)


async def test_what_is_not_used_is_forgotten_by_worker_and_redis(fleet):
    worker = await fleet.hire()
    for number in range(500):
        worker.admit(a_key(f"k{number}", requests_per_minute=60, tokens_per_minute=60), "desk", 1).settle(1, 0.0)
    assert worker.keys == 500
    await fleet.sync()
    with redis.Redis.from_url(fleet.url) as client:
        assert len(client.keys("tutelage:limits:bucket:*")) == 1000
        fleet.added += 5
        await fleet.sync(times=2)
        assert not [key for key in client.keys("tutelage:limits:bucket:*") if client.ttl(key) > 15]
    fleet.added += 70
    await fleet.sync(times=3)
    assert worker.keys == 0
