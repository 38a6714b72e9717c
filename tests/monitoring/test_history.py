"""What a stream held no longer when the reader came to it: read in the archive, each record once."""

from __future__ import annotations

import contextlib

import pytest
import redis

from core.journal import Journal
from core.ledger import Ledger
from core.records import Comparison, Exchange
from tests.support.monitoring_world import World
from tests.support.reading import STREAMS, Source, archive_all, counted, reading, stored, until

EVERYTHING = "9999999999999-0"


@pytest.fixture
async def journal(redis_url):
    journal = Journal.connect(redis_url)
    yield journal
    await journal.close()


class House:
    """Archives and trims; what it archives, a reader can be without."""

    def __init__(self, redis_url: str, journal: Journal, ledger: Ledger, archive_url: str) -> None:
        self.redis_url, self.journal, self.ledger, self.archive_url = redis_url, journal, ledger, archive_url

    async def archive(self) -> None:
        await archive_all(self.journal, self.ledger, self.archive_url)

    async def archive_and_trim(self) -> None:
        await self.archive()
        for stream in STREAMS.values():
            await self.journal.trim(stream, EVERYTHING)

    def reading(self, *, archived: bool = True, **options):
        return reading(
            self.redis_url, self.ledger, archive_url=self.archive_url if archived else None, drift_window=0, **options
        )


@pytest.fixture
def house(redis_url, journal, ledger, tmp_path) -> House:
    return House(redis_url, journal, ledger, str(tmp_path / "archive"))


def pairs(world: World, count: int) -> list[tuple[Exchange, Comparison | None]]:
    return [world.pair(drawn=True) for _ in range(count)]


async def test_what_was_trimmed_is_read_in_the_archive(house, journal, ledger, world, monkeypatch):
    monkeypatch.setattr("monitoring.history.PAGE", 7)
    one, two = Source(journal), Source(journal, "log_b")
    await one.ship(*pairs(world, 20))
    async with house.reading() as reader:
        await until(lambda: counted(reader.state) == (20, 20))
    for _ in range(3):
        await one.ship(*pairs(world, 10))
        await two.ship(*pairs(world, 5))
    await house.archive_and_trim()
    await two.ship(*pairs(world, 5))
    async with house.reading() as reader:
        await until(lambda: counted(reader.state) == (70, 70))
        assert (reader.history.read, reader.history.lost) == (90, 0)
        assert reader.state.duplicates == 0
    assert counted(stored(ledger)) == (70, 70)
    await one.ship(*pairs(world, 3))
    async with house.reading() as reader:
        await until(lambda: counted(reader.state) == (73, 73))
        assert reader.history.read == 0


async def test_the_state_is_as_if_nothing_had_been_trimmed(redis_url, house, journal, ledger, world, tmp_path):
    source = Source(journal)
    await source.ship(*pairs(world, 10))
    async with house.reading() as reader:
        await until(lambda: counted(reader.state) == (10, 10))
    await source.ship(*pairs(world, 40))
    with contextlib.closing(Ledger(f"sqlite:///{tmp_path}/other.db")) as other:
        other.migrate()
        async with reading(redis_url, other, drift_window=0) as untrimmed:
            await until(lambda: counted(untrimmed.state) == (50, 50))
            wanted = untrimmed.state.watched
            await house.archive_and_trim()
    await source.ship(*pairs(world, 1))
    async with house.reading() as reader:
        await until(lambda: counted(reader.state) == (51, 51))
        found = reader.state.watched
        assert found is not None
        assert wanted is not None
        assert [step.number for step in found.trail] == list(range(1, 52))
        assert [(step.label, step.agrees) for step in found.trail[:50]] == [
            (step.label, step.agrees) for step in wanted.trail
        ]


async def test_a_reader_that_is_killed_while_it_catches_up_counts_once(house, journal, ledger, world, monkeypatch):
    monkeypatch.setattr("monitoring.history.PAGE", 3)
    source = Source(journal)
    await source.ship(*pairs(world, 5))
    async with house.reading() as reader:
        await until(lambda: counted(reader.state) == (5, 5))
    await source.ship(*pairs(world, 60))
    await house.archive_and_trim()
    await source.ship(*pairs(world, 5))
    for kill in (True, False):
        async with house.reading(kill=kill) as reader:
            await until(lambda: reader.history.read >= 20)
    async with house.reading() as reader:
        await until(lambda: counted(reader.state) == (70, 70))
        assert (reader.state.duplicates, reader.history.lost) == (0, 0)


async def test_what_redis_lost_after_its_log_was_deleted_is_in_the_archive(redis_url, house, journal, world):
    source = Source(journal)
    await source.ship(*pairs(world, 5))
    async with house.reading() as reader:
        await until(lambda: counted(reader.state) == (5, 5))
    await source.ship(*pairs(world, 20))
    await house.archive()
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    await Source(journal, "log_b").ship(*pairs(world, 5))
    async with house.reading() as reader:
        await until(lambda: counted(reader.state) == (30, 30))
        assert (reader.history.read, reader.state.duplicates) == (40, 0)


async def test_without_the_archive_what_is_missing_is_counted(house, journal, world):
    source = Source(journal)
    await source.ship(*pairs(world, 5))
    async with house.reading() as reader:
        await until(lambda: counted(reader.state) == (5, 5))
    await source.ship(*pairs(world, 20))
    await house.archive_and_trim()
    await source.ship(*pairs(world, 5))
    async with house.reading(archived=False) as reader:
        await until(lambda: counted(reader.state) == (10, 10))
        assert reader.history.lost == 40


async def test_an_archive_that_is_away_is_waited_for(house, journal, world, tmp_path):
    source = Source(journal)
    await source.ship(*pairs(world, 5))
    async with house.reading() as reader:
        await until(lambda: counted(reader.state) == (5, 5))
    await source.ship(*pairs(world, 20))
    await house.archive_and_trim()
    await source.ship(*pairs(world, 5))
    away = tmp_path / "away"
    (tmp_path / "archive").rename(away)
    async with house.reading() as reader:
        await until(lambda: not reader.up)
        assert counted(reader.state) == (5, 5)
        away.rename(tmp_path / "archive")
        await until(lambda: counted(reader.state) == (30, 30))


async def test_a_new_monitor_leaves_what_is_history_alone(house, journal, world):
    source = Source(journal)
    await source.ship(*pairs(world, 20))
    await house.archive_and_trim()
    await source.ship(*pairs(world, 5))
    async with house.reading() as reader:
        await until(lambda: counted(reader.state) == (5, 5))
    await source.ship(*pairs(world, 10))
    await house.archive_and_trim()
    await source.ship(*pairs(world, 1))
    async with house.reading() as reader:
        await until(lambda: counted(reader.state) == (16, 16))
