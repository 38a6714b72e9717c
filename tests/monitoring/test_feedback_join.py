"""Feedback joined to what was answered, with a real Redis, ledger and archive: each piece counts once."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from functools import partial

import msgspec
import pytest
import redis

from core.ids import mint
from core.journal import Journal
from core.ledger import Ledger
from core.records import Answerer, Exchange, Feedback
from monitoring.feedback.answered import Found, RecentAnswers
from monitoring.feedback.join import FeedbackJoin
from monitoring.feedback.lookup import FeedbackArchive
from monitoring.feedback.state import FeedbackOutcome, Pending
from monitoring.reader import TaskReader
from monitoring.rules import rules_of
from monitoring.state import TaskState
from tests.support.monitoring_world import LABELS, World, task_settings
from tests.support.reading import Source, archive_all, reading, stored, until

RULES = rules_of(task_settings())
DAY = 86_400.0


@pytest.fixture
async def journal(redis_url):
    journal = Journal.connect(redis_url)
    yield journal
    await journal.close()


class House:
    """Ships, archives and reads."""

    def __init__(self, redis_url: str, journal: Journal, ledger: Ledger, archive_url: str) -> None:
        self.redis_url, self.journal, self.ledger, self.archive_url = redis_url, journal, ledger, archive_url
        self.world = World()
        self.source = Source(journal)
        self.times = iter(range(1, 100_000))

    def exchange(self, **changes) -> Exchange:
        exchange, _ = self.world.pair(drawn=False)
        return msgspec.structs.replace(exchange, **({"at": time.time()} | changes))

    def by_teacher(self) -> Exchange:
        return self.exchange(
            answered_by=Answerer.TEACHER, label=LABELS[0], completion_id=f"chatcmpl-{next(self.times)}"
        )

    def feedback(self, exchange: str, label: str, **changes) -> Feedback:
        return Feedback(mint("fb"), "desk", exchange, label, time.time() + next(self.times) / 1e6, **changes)

    async def ship(self, *records) -> None:
        await self.source.ship(records)

    async def archive(self) -> None:
        await archive_all(self.journal, self.ledger, self.archive_url)

    def reading(self, **options):
        return reading(self.redis_url, self.ledger, archive_url=self.archive_url, drift_window=0, **options)

    def lookup(self, days: float = 90.0) -> FeedbackArchive:
        return FeedbackArchive(self.archive_url, self.ledger, "desk", RULES, days)


@pytest.fixture
def house(redis_url, journal, ledger, tmp_path) -> House:
    return House(redis_url, journal, ledger, str(tmp_path / "archive"))


def outcomes(state: TaskState | None) -> dict[FeedbackOutcome, int]:
    return {} if state is None else state.feedback.outcomes


def settled(state: TaskState | None, count: int) -> bool:
    return state is not None and not state.feedback.waiting and sum(outcomes(state).values()) == count


def answers(state: TaskState | None) -> Counter[str]:
    """(answers with feedback, right ones) of student, teacher, withheld."""
    assert state is not None
    found: Counter[str] = Counter()
    for version in state.feedback.versions.values():
        for name in ("student", "teacher", "withheld"):
            counts = getattr(version, name).counts
            found[name] += counts.total
            found[name + " right"] += counts.correct
    return +found


async def test_what_was_read_is_joined_without_the_archive(house: House):
    exchanges = [house.exchange() for _ in range(5)]
    async with house.reading() as reader:
        await house.ship(*exchanges, *(house.feedback(one.id, one.label or "") for one in exchanges))
        await until(lambda: settled(reader.state, 5))
        assert outcomes(reader.state) == {FeedbackOutcome.COUNTED: 5}
        await until(lambda: settled(stored(house.ledger), 5))
    assert answers(stored(house.ledger)) == {"student": 5, "student right": 5}


async def test_what_is_no_longer_in_memory_is_found_in_the_archive_by_either_id(house: House):
    exchanges, taught = [house.exchange() for _ in range(4)], [house.by_teacher() for _ in range(4)]
    async with house.reading() as reader:
        await house.ship(*exchanges, *taught)
        await until(lambda: sum(reader.state.exchanges.values()) == 8)
    await house.archive()
    async with house.reading() as reader:
        await house.ship(
            *(house.feedback(one.id, LABELS[1]) for one in exchanges),
            *(house.feedback(one.id, LABELS[0]) for one in taught[:2]),
            *(house.feedback(one.completion_id, LABELS[0]) for one in taught[2:]),
            house.feedback("chatcmpl-nobody", LABELS[0]),
        )
        await until(lambda: sum(outcomes(reader.state).values()) == 8)
        assert outcomes(reader.state) == {FeedbackOutcome.COUNTED: 8}
        assert [pending.exchange for pending in reader.state.feedback.waiting.values()] == ["chatcmpl-nobody"]
    right = sum(one.label == LABELS[1] for one in exchanges)
    said = sum(one.student is not None and one.student.label == LABELS[0] for one in taught)
    expected = {"student": 4, "student right": right, "teacher": 4, "teacher right": 4, "withheld": 4}
    assert answers(stored(house.ledger)) == +Counter(expected | {"withheld right": said})
    shares = stored(house.ledger).feedback.versions["1"].exposure  # type: ignore[union-attr] # it is stored
    assert shares.total(Answerer.STUDENT) == shares.total(Answerer.TEACHER) == 4


async def test_feedback_may_come_before_its_exchange(house: House):
    one, two = house.exchange(), house.exchange()
    async with house.reading() as reader:
        await house.ship(house.feedback(one.id, LABELS[0]), house.feedback(two.id, LABELS[0]))
        await until(lambda: len(reader.state.feedback.waiting) == 2)
        await until(lambda: all(pending.tries for pending in reader.state.feedback.waiting.values()))
    assert stored(house.ledger).feedback.waiting  # type: ignore[union-attr] # it is stored
    async with house.reading() as reader:
        await house.ship(one)
        await until(lambda: outcomes(reader.state) == {FeedbackOutcome.COUNTED: 1})
    await house.ship(two)
    await house.archive()  # and nobody reads it meanwhile
    async with house.reading() as reader:
        await until(lambda: settled(reader.state, 2))


async def test_a_correction_is_found_across_restarts_and_an_emptied_redis(house: House):
    exchange = house.exchange(label=LABELS[0])
    async with house.reading() as reader:
        await house.ship(exchange, house.feedback(exchange.id, LABELS[1]))
        await until(lambda: settled(reader.state, 1))
    assert answers(stored(house.ledger)) == {"student": 1}
    await house.archive()
    async with house.reading() as reader:
        await house.ship(house.feedback(exchange.id, LABELS[0]))
        await until(lambda: settled(reader.state, 2))
        with redis.Redis.from_url(house.redis_url) as client:
            client.flushall()
        await house.source.ship_again()
        await house.ship(house.feedback(exchange.id, LABELS[0], source="review"))
        await until(lambda: settled(reader.state, 3))
        assert reader.intake.replayed >= 3  # more where the reader met the stream before all of it was there again
    wanted = dict.fromkeys((FeedbackOutcome.COUNTED, FeedbackOutcome.CORRECTED, FeedbackOutcome.REPEATED), 1)
    assert outcomes(stored(house.ledger)) == wanted
    assert answers(stored(house.ledger)) == {"student": 1, "student right": 1}


async def test_a_correction_of_what_is_not_remembered_counts_nothing_twice(house: House):
    one, two = house.exchange(), house.exchange()
    async with house.reading() as reader:
        await house.ship(
            one, two, house.feedback(one.id, LABELS[1]), house.feedback(two.id, LABELS[1], source="review")
        )
        await until(lambda: settled(reader.state, 2))
        reader.state.feedback.young.clear()
    await house.archive()
    async with house.reading() as reader:
        await house.ship(
            house.feedback(one.id, LABELS[2]), house.feedback(two.id, LABELS[2]), house.feedback(two.id, LABELS[3])
        )
        await house.archive()  # they are archived before they are joined, and are not taken for earlier ones
        await until(lambda: settled(reader.state, 5))
    names = FeedbackOutcome.COUNTED, FeedbackOutcome.REVIEWED, FeedbackOutcome.LATE, FeedbackOutcome.CORRECTED
    assert outcomes(stored(house.ledger)) == dict(zip(names, (2, 1, 1, 1), strict=True))
    assert answers(stored(house.ledger))["student"] == 2


def settled_so_far(reader: TaskReader, count: int) -> bool:
    return settled(reader.state, count)


async def test_killed_at_any_moment_it_counts_each_once(house: House):
    exchanges = [house.exchange() if i % 3 else house.by_teacher() for i in range(60)]
    truths: dict[str, str] = {}
    shipped = 0
    for round_ in range(6):
        fresh = exchanges[10 * round_ : 10 * round_ + 10]
        told = [house.feedback(one.completion_id or one.id, str(house.world.rng.choice(LABELS))) for one in fresh[:7]]
        told += [house.feedback(one.id, LABELS[round_]) for one in exchanges[: 10 * round_] if one.id in truths][:3]
        for piece in told:
            truths[next(one.id for one in exchanges if piece.exchange in (one.id, one.completion_id))] = piece.label
        await house.ship(*fresh, *told)
        shipped += len(told)
        if round_ % 2:
            await house.archive()
        async with house.reading(kill=round_ % 3 != 2) as reader:
            await asyncio.sleep(0.05 * round_)
            if round_ == 2:
                await until(partial(settled_so_far, reader, shipped))
    await house.archive()
    async with house.reading() as reader:
        await until(lambda: settled(reader.state, shipped))
    by_id = {one.id: one for one in exchanges}
    expected: Counter[str] = Counter()
    for name, truth in truths.items():
        one = by_id[name]
        whose = "teacher" if one.answered_by is Answerer.TEACHER else "student"
        expected[whose] += 1
        expected[whose + " right"] += one.label == truth
        if whose == "teacher" and one.student is not None:
            expected["withheld"] += 1
            expected["withheld right"] += one.student.label == truth
    assert answers(stored(house.ledger)) == +expected


async def test_what_must_be_forgotten_is_not_joined(house: House):
    exchange = house.exchange()
    await house.ship(exchange)
    house.ledger.forgotten.add(exchanges=[exchange.id])
    async with house.reading() as reader:
        await until(lambda: sum(reader.state.exchanges.values()) == 1)
        await asyncio.sleep(0.5)  # the tombstones are read with the next snapshot
        await house.ship(house.feedback(exchange.id, LABELS[0]), house.exchange())
        await until(lambda: sum(reader.state.exchanges.values()) == 2)
        await asyncio.sleep(0.2)
        assert not reader.state.feedback.waiting
        assert not outcomes(reader.state)


async def test_where_much_waits_no_more_is_read(house: House, monkeypatch):
    monkeypatch.setattr("monitoring.feedback.state._WAITING", 10)

    def slowly(*_) -> Found:
        time.sleep(0.6)
        return Found()

    monkeypatch.setattr(FeedbackArchive, "look_up", slowly)
    strangers = [house.feedback(mint(), LABELS[0]) for _ in range(24)]
    async with house.reading() as reader:
        await house.ship(*strangers[:12])
        await until(lambda: len(reader.state.feedback.waiting) == 12)
        await house.ship(*strangers[12:])
        await asyncio.sleep(0.3)
        assert len(reader.state.feedback.waiting) == 12
        await until(lambda: sum(outcomes(reader.state).values()) + len(reader.state.feedback.waiting) == 24)
        await until(lambda: not reader.state.feedback.is_full)
        assert set(outcomes(reader.state)) == {FeedbackOutcome.UNMATCHED}


async def test_old_exchanges_are_looked_for_where_they_can_be(house: House):
    now = time.time()
    old = house.exchange(at=now - 40 * DAY, id=f"ex_{int((now - 40 * DAY) * 1000):012x}{'ab' * 10}")
    taught = house.exchange(
        at=now - 40 * DAY, answered_by=Answerer.TEACHER, label=LABELS[0], completion_id="chatcmpl-old"
    )
    await house.ship(old, taught, house.exchange())
    await house.archive()

    def look(name: str, *, days: float = 90.0, looked: float = 0.0) -> bool:
        pending = Pending("fb", name, LABELS[0], now, True, looked=looked)
        return name in house.lookup(days).look_up([pending], frozenset(), {}).answered

    assert look(old.id)
    assert look("chatcmpl-old")
    assert not look("chatcmpl-old", days=30.0)
    assert look(old.id, looked=now)
    assert not look(old.id, looked=now + DAY)  # it was archived before, and would have been found
    assert not look(mint())


async def test_a_look_that_fails_is_tried_again_and_gives_nothing_up(house: House):
    calls = []

    def failing(wanted, waiting, read) -> Found:
        calls.append(len(wanted))
        raise OSError("away")

    join = FeedbackJoin("desk", RULES, RecentAnswers(), failing, wait_hours=0.0)
    state = TaskState("desk")
    state.feedback.take(house.feedback(mint(), LABELS[0]))
    now = time.time()
    assert join.step(state, {}, now)
    assert await join.stop(state, now + 100.0)
    assert len(state.feedback.waiting) == 1
    assert not join.step(state, {}, now + 100.0)
    assert join.step(state, {}, now + 200.0)
    await join.stop(TaskState("desk"), now + 200.0)  # another snapshot was loaded: that one's feedback is its own
    assert calls == [1, 1]
    assert len(state.feedback.waiting) == 1
