"""The reader, on a real Redis and a real ledger: every record counts once."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time

import httpx
import msgspec
import pytest
import redis
from sqlalchemy.exc import SQLAlchemyError

from core.journal import Journal
from core.records import Exchange
from tests.support.monitoring_world import LABELS, task_settings, trust_rows
from tests.support.processes import ROOT, wait_for, write_settings
from tests.support.reading import STREAMS, Source, counted, reading, stored, until


@pytest.fixture
async def journal(redis_url):
    journal = Journal.connect(redis_url)
    yield journal
    await journal.close()


async def test_it_reads_stores_and_goes_on(redis_url, journal, ledger, world):
    ledger.set_trust("desk", "1", trust_rows())
    source = Source(journal)
    await source.ship(*(world.pair(drawn=True) for _ in range(30)))
    async with reading(redis_url, ledger) as reader:
        await until(lambda: counted(reader.state) == (30, 30))
        assert reader.state.watched is not None
        assert set(reader.state.watched.class_baselines) == set(LABELS)
    assert counted(stored(ledger)) == (30, 30)
    await source.ship(*(world.pair(drawn=True) for _ in range(5)))
    async with reading(redis_url, ledger) as reader:
        await until(lambda: counted(reader.state) == (35, 35))
        assert reader.intake.replayed == 0


async def test_what_was_not_stored_is_read_again_and_counts_once(redis_url, journal, ledger, world):
    source = Source(journal)
    await source.ship(*(world.pair(drawn=True) for _ in range(20)))
    async with reading(redis_url, ledger) as reader:
        await until(lambda: counted(reader.state) == (20, 20))
    await source.ship(*(world.pair(drawn=True) for _ in range(20)))
    async with reading(redis_url, ledger, kill=True) as reader:
        await until(lambda: counted(reader.state) == (40, 40))
    assert counted(stored(ledger)) == (20, 20)
    async with reading(redis_url, ledger) as reader:
        await until(lambda: counted(reader.state) == (40, 40))
    assert counted(stored(ledger)) == (40, 40)


async def test_an_emptied_redis_changes_nothing(redis_url, journal, ledger, world):
    source = Source(journal)
    await source.ship(*(world.pair(drawn=True) for _ in range(10)))
    await source.ship(*(world.pair(drawn=True) for _ in range(10)))
    async with reading(redis_url, ledger) as reader:
        await until(lambda: counted(reader.state) == (20, 20))
        with redis.Redis.from_url(redis_url) as client:
            client.flushall()
        await source.ship_again()
        await source.ship(*(world.pair(drawn=True) for _ in range(3)))
        await until(lambda: counted(reader.state) == (23, 23))
        assert reader.intake.replayed >= 40
        assert reader.state.duplicates == 0


async def test_a_comparison_that_was_made_twice_counts_once(redis_url, journal, ledger, world):
    exchange, comparison = world.pair(drawn=True)
    again = msgspec.structs.replace(comparison, id="cmp_again")
    await Source(journal).ship((exchange, comparison))
    await Source(journal, "log_b").ship((again,), world.pair(drawn=True))
    async with reading(redis_url, ledger) as reader:
        await until(lambda: counted(reader.state) == (2, 2))
        assert reader.state.duplicates == 1


async def test_one_reads_at_a_time_and_the_next_takes_over(redis_url, journal, ledger, world):
    source = Source(journal)
    await source.ship(*(world.pair(drawn=True) for _ in range(5)))
    async with reading(redis_url, ledger) as first:
        await until(lambda: counted(first.state) == (5, 5))
        async with reading(redis_url, ledger) as second:
            await asyncio.sleep(0.2)
            assert (first.leading, second.leading) == (True, False)
    async with reading(redis_url, ledger) as third:
        await until(lambda: third.leading)
        assert counted(third.state) == (5, 5)


async def test_two_that_both_believe_to_lead_count_once(redis_url, journal, ledger, world):
    source = Source(journal)
    async with reading(redis_url, ledger) as first:
        await source.ship(*(world.pair(drawn=True) for _ in range(5)))
        await until(lambda: counted(stored(ledger)) == (5, 5))
        with redis.Redis.from_url(redis_url) as client:
            client.delete("tutelage:lease:monitor:desk")
        async with reading(redis_url, ledger) as second:
            await source.ship(*(world.pair(drawn=True) for _ in range(5)))
            await until(lambda: counted(stored(ledger)) == (10, 10))
            await asyncio.sleep(0.3)
            await source.ship(*(world.pair(drawn=True) for _ in range(5)))
            await until(lambda: counted(stored(ledger)) == (15, 15))
            assert 15 in (counted(first.state)[0], counted(second.state)[0])
    assert counted(stored(ledger)) == (15, 15)


async def test_damaged_records_and_a_ledger_that_is_away_do_not_end_it(redis_url, journal, ledger, world, monkeypatch):
    source = Source(journal)
    await source.ship(world.pair(drawn=True))
    assert await journal.ship("log_x", None, 10, {STREAMS[Exchange]: [(10, b"\xc1")]}) == 10
    failures = iter([True, True])
    load = ledger.snapshots.load

    def away(task: str, name: str):
        if next(failures, False):
            raise SQLAlchemyError("away")
        return load(task, name)

    monkeypatch.setattr(ledger.snapshots, "load", away)
    async with reading(redis_url, ledger) as reader:
        await until(lambda: counted(reader.state) == (1, 1))
        assert reader.intake.unreadable == 1


async def test_an_alarm_reaches_the_ledger_from_the_stream(redis_url, journal, ledger, world):
    ledger.set_trust("desk", "1", trust_rows())
    source = Source(journal)
    async with reading(redis_url, ledger) as reader:
        await source.ship(*(world.pair(drawn=True) for _ in range(600)))
        await until(lambda: counted(reader.state)[0] == 600)
        assert not ledger.alarms.open("desk")
        world.agreement = dict.fromkeys(LABELS, 0.2)
        await source.ship(*(world.pair(drawn=True) for _ in range(80)))
        await until(lambda: bool(ledger.alarms.open("desk")))
        await until(lambda: len(ledger.trusted("desk")["1"]) == 0)
        await until(lambda: "student_agreement" in reader.open_alarms)


async def test_windows_are_scored_beside_the_reading(redis_url, journal, ledger, world):
    source = Source(journal)
    watch = {"drift_window": 100, "drift_window_minutes": 0, "drift_reference_hours": 0}
    async with reading(redis_url, ledger, **watch) as reader:
        await source.ship(*(world.pair(drawn=False) for _ in range(400)))
        await until(lambda: bool(reader.state.drift.scores), 40)
        assert {score.signal for score in reader.state.drift.scores} == {
            "label_psi",
            "label_jensen_shannon",
            "confidence_wasserstein",
            "length_wasserstein",
            "words_wasserstein",
            "non_letters_wasserstein",
            "oov_wasserstein",
            "template_mismatch",
        }


def start_monitor(config, log) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "monitoring.serve", "--config", str(config)], cwd=ROOT, stdout=output, stderr=output
        )


def series(port: int, name: str) -> float:
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=5).text
    return next((float(line.split()[-1]) for line in text.splitlines() if line.startswith(name)), 0.0)


async def test_a_killed_monitor_counts_nothing_twice(redis_url, journal, ledger, world, free_port, tmp_path):
    config = write_settings(
        tmp_path / "tutelage.yaml",
        {
            "state": str(tmp_path),
            "redis": {"url": redis_url},
            "monitor": {"port": free_port, "snapshot_seconds": 0.3},
            "tasks": {"desk": task_settings().model_dump(mode="json")},
        },
    )
    source, log = Source(journal), tmp_path / "monitor.log"
    exchanges = 'tutelage_monitor_exchanges_total{task="desk",answered_by="student"}'
    for round_ in range(1, 4):
        process = start_monitor(config, log)
        try:
            await asyncio.to_thread(wait_for, f"http://127.0.0.1:{free_port}/healthz", process=process)
            for _ in range(8):
                await source.ship(*(world.pair(drawn=True) for _ in range(25)))
                await asyncio.sleep(0.05)
            deadline = time.monotonic() + 20
            while round_ == 3 and await asyncio.to_thread(series, free_port, exchanges) < 600:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.1)
        finally:
            os.kill(process.pid, signal.SIGKILL if round_ < 3 else signal.SIGTERM)
            assert process.wait(20) == (-signal.SIGKILL if round_ < 3 else 0)
        with redis.Redis.from_url(redis_url) as client:
            client.delete("tutelage:lease:monitor:desk")  # rather than wait until it ends
    state = stored(ledger)
    assert counted(state) == (600, 600)
    assert state is not None
    assert state.duplicates == 0
