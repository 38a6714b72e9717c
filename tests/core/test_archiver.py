"""The archiver, against a real Redis, a real ledger and real files."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import msgspec
import redis
from structlog.testing import capture_logs

from core.archive import Archive
from core.archiver import Archiver, Lag
from core.archiver.metrics import ArchiverMetrics
from core.ids import mint
from core.journal import Journal, archived_field
from core.ledger import Ledger
from core.records import SCHEMA, Answerer, Exchange, Feedback, Kind, Reason, Usage, encode

STREAM = "tutelage:desk:exchanges"
FEEDBACK = "tutelage:desk:feedback"
NOON = 1_750_000_000.0


@contextlib.asynccontextmanager
async def archiving(journal: Journal, archive: Archive, ledger: Ledger, **options) -> AsyncIterator[Archiver]:
    archiver = Archiver(journal, archive, ledger, **({"flush_seconds": 0.1} | options))
    task = asyncio.create_task(archiver.run())
    try:
        yield archiver
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def exchange(**values) -> Exchange:
    return Exchange(mint(), "desk", NOON, Answerer.STUDENT, Reason.CHAMPION, 200, **values)


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - a counter has no event
            await asyncio.sleep(0.01)


class Source:
    """Ships without a log; a record's offset is its number, times ten."""

    def __init__(self, journal: Journal, name: str = "log_a") -> None:
        self.journal, self.name, self.offset = journal, name, 0

    async def ship(self, *payloads: bytes, stream: str = STREAM) -> None:
        frames = [(self.offset + 10 * number, payload) for number, payload in enumerate(payloads, 1)]
        before, self.offset = self.offset or None, frames[-1][0]
        assert await self.journal.ship(self.name, before, self.offset, {stream: frames}) == self.offset


async def test_everything_is_archived_and_said_to_be(journal, archive, ledger):
    source = Source(journal)
    records = [exchange(text=str(number)) for number in range(30)]
    await source.ship(*map(encode, records[:10]))
    async with archiving(journal, archive, ledger) as archiver:
        assert await archiver.drain(10)
        await source.ship(*map(encode, records[10:]))
        await source.ship(encode(Feedback("fb_1", "desk", records[0].id, "refund", NOON)), stream=FEEDBACK)
        assert await archiver.drain(10)
        assert (archiver.archived, archiver.duplicates, archiver.conflicts) == (31, 0, 0)
    assert sorted(archive.exchanges("desk").column("id").to_pylist()) == sorted(record.id for record in records)
    assert archive.count("desk", Kind.FEEDBACK) == 1
    fields = [archived_field(STREAM, "log_a"), archived_field(FEEDBACK, "log_a")]
    assert await journal.archived(fields) == [300, 310]


async def test_it_flushes_in_time_by_itself(journal, archive, ledger):
    async with archiving(journal, archive, ledger, flush_seconds=0.05) as archiver:
        await Source(journal).ship(encode(exchange()))
        await until(lambda: archiver.archived == 1)
    assert archive.count("desk") == 1


async def test_a_restart_reads_everything_and_archives_only_what_is_new(journal, archive, ledger):
    source = Source(journal)
    await source.ship(*[encode(exchange()) for _ in range(5)])
    async with archiving(journal, archive, ledger) as archiver:
        assert await archiver.drain(10)
    await source.ship(encode(exchange()))
    async with archiving(journal, archive, ledger) as archiver:
        assert await archiver.drain(10)
        assert (archiver.archived, archiver.duplicates) == (1, 5)
    assert archive.count("desk") == archive.exchanges("desk").num_rows == 6


async def test_an_overlap_is_archived_once(journal, archive, ledger):
    payloads = [encode(exchange()) for _ in range(6)]
    frames = [(10 * number, payload) for number, payload in enumerate(payloads, 1)]
    async with archiving(journal, archive, ledger, flush_seconds=60) as archiver:
        await journal.ship("log_a", None, 30, {STREAM: frames[:3]})
        await journal.forget("log_a")
        await journal.ship("log_a", None, 50, {STREAM: frames[:5]})
        assert await archiver.drain(10)
        await journal.forget("log_a")
        await journal.ship("log_a", None, 60, {STREAM: frames[1:]})
        assert await archiver.drain(10)
        assert (archiver.archived, archiver.duplicates) == (6, 7)
    assert sorted(archive.exchanges("desk").column("log_offset").to_pylist()) == [10, 20, 30, 40, 50, 60]


async def test_who_is_late_does_not_archive_what_it_had_read_before(journal, archive, ledger):
    source = Source(journal)
    async with archiving(journal, archive, ledger, flush_seconds=60) as late:
        await source.ship(encode(exchange()), encode(exchange()))
        await until(lambda: any(stream.rows for stream in late._streams.values()))
        async with archiving(journal, archive, ledger) as early:
            assert await early.drain(10)
            assert early.archived == 2
        late._house.hurry()  # it learns from the ledger how far the archive is
        await asyncio.sleep(0.5)
        await source.ship(encode(exchange()))
        assert await late.drain(10)
        assert (late.archived, late.conflicts) == (1, 1)
    assert sorted(archive.exchanges("desk").column("log_offset").to_pylist()) == [10, 20, 30]


async def test_an_emptied_redis_whose_clock_was_set_back_is_read_from_its_start(journal, archive, ledger, redis_url):
    async with archiving(journal, archive, ledger) as archiver:
        await Source(journal).ship(encode(exchange()))
        assert await archiver.drain(10)
        frames = [(10, encode(exchange())), (20, encode(exchange()))]
        with redis.Redis.from_url(redis_url) as client, client.pipeline() as pipeline:
            pipeline.flushall()
            fields = {"s": "log_a", "o": 20, "n": 2, "b": msgspec.msgpack.encode(frames)}
            pipeline.xadd(STREAM, fields, id="1-1")
            pipeline.sadd("tutelage:streams", STREAM)
            pipeline.execute()
        assert await archiver.drain(10)
        assert (archiver.archived, archiver.duplicates) == (2, 1)
        assert await journal.archived([archived_field(STREAM, "log_a")]) == [20]


async def test_a_grown_stream_is_trimmed_behind_the_archive_only(journal, archive, ledger):
    source = Source(journal)
    for _ in range(20):
        await source.ship(encode(exchange(text="x" * 50_000)))
        await asyncio.sleep(0.002)
    async with archiving(journal, archive, ledger, stream_bytes=300_000, flush_seconds=60) as archiver:
        await asyncio.sleep(0.5)
        assert archiver.archived == archiver.trimmed == 0
        assert await journal.length(STREAM) == 20
        assert await archiver.drain(10)
        archiver._house.hurry()
        await until(lambda: archiver.trimmed > 0)
        await asyncio.sleep(0.1)
        assert 0 < await journal.length(STREAM) < 20
        assert await journal.memory(STREAM) <= 300_000
        await source.ship(encode(exchange()))
        assert await archiver.drain(10)
    assert archive.count("desk") == 21


async def test_a_newer_record_holds_its_stream_and_loses_nothing(journal, archive, ledger):
    source = Source(journal)
    newer = encode(msgspec.structs.replace(exchange(), schema=SCHEMA + 1))
    with capture_logs() as logs:
        async with archiving(journal, archive, ledger) as archiver:
            await source.ship(encode(exchange()), newer, encode(exchange()))
            await Source(journal, "log_b").ship(
                encode(Feedback("fb_1", "desk", "ex_1", "refund", NOON)), stream=FEEDBACK
            )
            await until(lambda: archiver.archived == 2)
            assert not await archiver.drain(0.3)
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["stream_held"]
    assert archive.count("desk") == 1
    assert await journal.archived([archived_field(STREAM, "log_a")]) == [10]


async def test_damaged_and_impossible_records_do_not_stop_the_others(journal, archive, ledger):
    source = Source(journal)
    good = [exchange(), exchange()]
    with capture_logs() as logs:
        async with archiving(journal, archive, ledger) as archiver:
            await source.ship(
                encode(good[0]),
                b"\x82\xa4type\xa8exchange\xa4task\xa4desk",
                b"\x82\xa4type\xa8exchange\xa4task\xa1\xff",
                encode(exchange(usage=Usage(2**63, 0))),
                encode(msgspec.structs.replace(exchange(), at=1e18)),
                encode(good[1]),
            )
            assert await archiver.drain(10)
            assert (archiver.archived, archiver.unreadable) == (2, 4)
    errors = [line["event"] for line in logs if line["log_level"] == "error"]
    assert errors == ["unreadable_record", "unreadable_record", "records_fit_no_column"]
    assert set(archive.exchanges("desk").column("id").to_pylist()) == {record.id for record in good}
    assert await journal.archived([archived_field(STREAM, "log_a")]) == [60]


async def test_a_disk_that_refuses_is_said_once_and_costs_nothing(tmp_path, journal, archive, ledger):
    blocker = tmp_path / "archive"
    blocker.touch()
    with capture_logs() as logs:
        async with archiving(journal, archive, ledger) as archiver:
            await Source(journal).ship(encode(exchange()), encode(exchange()))
            assert not await archiver.drain(1.0)
            assert archiver.up is False
            blocker.unlink()
            assert await archiver.drain(10)
            await until(lambda: archiver.up)
    events = [line["event"] for line in logs if line["event"].startswith("archiving")]
    assert events == ["archiving_stopped", "archiving_again"]
    assert archive.count("desk") == archive.exchanges("desk").num_rows == 2


async def test_it_says_by_how_much_it_lags(journal, archive, ledger):
    source = Source(journal)
    await source.ship(*[encode(exchange()) for _ in range(5)])
    async with archiving(journal, archive, ledger) as archiver:
        assert await archiver.drain(10)
    # Some is archived, some is trimmed, and this archiver has never seen any of it.
    (entry,) = await journal.read(STREAM)
    await source.ship(*[encode(exchange()) for _ in range(7)])
    await source.ship(encode(Feedback("fb_1", "desk", "ex_1", "refund", NOON)), stream=FEEDBACK)
    await journal.trim(STREAM, f"{int(entry.at * 1000) + 1}-0")
    async with archiving(journal, archive, ledger, flush_seconds=3) as archiver:
        metrics = ArchiverMetrics(archiver)
        assert archiver.lags() == {}
        await until(lambda: archiver.lags().get(STREAM, Lag(0, 0)).records == 7)
        await asyncio.sleep(0.3)
        lag = archiver.lags()[STREAM]
        assert (lag.records, archiver.lags()[FEEDBACK].records) == (7, 1)
        assert 0.3 <= lag.seconds < 10
        text = metrics.render().decode()
        assert 'tutelage_archiver_lag_records{kind="exchanges",task="desk"} 7.0' in text
        assert "tutelage_archiver_up 1.0" in text
        assert await archiver.drain(10)
        assert archiver.lags() == {STREAM: Lag(0, 0.0), FEEDBACK: Lag(0, 0.0)}
        assert "tutelage_archiver_archived_total 8.0" in metrics.render().decode()


async def test_a_held_stream_lags_and_says_so(journal, archive, ledger):
    await Source(journal).ship(encode(msgspec.structs.replace(exchange(), schema=SCHEMA + 1)))
    async with archiving(journal, archive, ledger) as archiver:
        await until(lambda: archiver.lags().get(STREAM, Lag(0, 0)).records == 1)
        await asyncio.sleep(0.2)
        assert archiver.lags()[STREAM].seconds > 0.1


async def test_another_archiver_is_no_lag(journal, archive, ledger):
    source = Source(journal)
    async with archiving(journal, archive, ledger) as one, archiving(journal, archive, ledger, flush_seconds=60) as two:
        for _ in range(5):
            await source.ship(encode(exchange()))
            assert await one.drain(10)
        assert await two.drain(10)
        await until(lambda: all(each.lags()[STREAM] == Lag(0, 0.0) for each in (one, two)))
    assert archive.count("desk") == 5
