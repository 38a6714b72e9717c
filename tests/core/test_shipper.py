"""The shipper, against a real Redis and real files. What it does together with the archiver is in
test_persistence_end_to_end.py."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import redis
from structlog.testing import capture_logs

from core import locallog
from core.ids import mint
from core.journal import Journal, archived_field
from core.locallog import LogWriter
from core.records import Answerer, Exchange, Feedback, Reason, encode
from core.redis_server import start_redis
from core.shipper import Shipper, Space

STREAM = "tutelage:desk:exchanges"
FEEDBACK = "tutelage:desk:feedback"


def writer_in(folder: Path, segment_bytes: int = 1 << 20) -> LogWriter:
    return LogWriter(folder, mint("log"), segment_bytes, 1 << 30)


def exchange(text: str = "") -> bytes:
    return encode(Exchange(mint(), "desk", 1.0, Answerer.STUDENT, Reason.CHAMPION, 200, text=text))


@contextlib.asynccontextmanager
async def shipping(folder: Path, journal: Journal, batch_bytes: int = 1 << 20, **bounds: Any) -> AsyncIterator[Shipper]:
    shipper = Shipper(folder, journal, batch_bytes=batch_bytes, poll_seconds=0.01, **bounds)
    task = asyncio.create_task(shipper.run())
    try:
        yield shipper
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - a counter has no event
            await asyncio.sleep(0.01)


async def journalled(journal: Journal, stream: str) -> list[bytes]:
    return [payload for entry in await journal.read(stream, count=10_000) for _, payload in entry.frames()]


async def test_records_go_to_their_streams_in_order(tmp_path, journal):
    log = writer_in(tmp_path, segment_bytes=2000)
    exchanges = [exchange(str(number)) for number in range(100)]
    feedback = [encode(Feedback(mint(), "desk", "ex_1", "refund", float(number))) for number in range(100)]
    for one, two in zip(exchanges, feedback, strict=True):
        log.append(one)
        log.append(two)
    async with shipping(tmp_path, journal, batch_bytes=1500) as shipper:
        assert await shipper.drain(10)
        assert (shipper.shipped, shipper.lag_bytes, shipper.unreadable, shipper.corrupt) == (200, 0, 0, 0)
        log.append(exchanges[0])
        assert await shipper.drain(10)
    log.close()
    assert await journalled(journal, STREAM) == [*exchanges, exchanges[0]]
    assert await journalled(journal, FEEDBACK) == feedback
    assert await journal.shipped([log.source]) == [log.offset]


async def test_only_what_is_wholly_archived_is_deleted(tmp_path, journal):
    log = writer_in(tmp_path, segment_bytes=500)
    ends = [log.offset for _ in range(20) if log.append(exchange())]
    segments = locallog.list_segments(tmp_path, log.source)
    assert len(segments) >= 4
    field = archived_field(STREAM, log.source)

    def left() -> int:
        return len(locallog.list_segments(tmp_path, log.source))

    async with shipping(tmp_path, journal) as shipper:
        shipper._next_removal = 0.0
        assert await shipper.drain(10)
        await asyncio.sleep(1.2)
        assert left() == len(segments)
        await journal.publish_archived({field: segments[1].end - 1})
        await until(lambda: left() == len(segments) - 1)
        await asyncio.sleep(1.2)
        assert left() == len(segments) - 1
        await journal.publish_archived({field: ends[-1]})
        await until(lambda: left() == 1)  # the last one: the writer is at it
        log.close()
        await until(lambda: locallog.list_sources(tmp_path) == [])
        assert list(tmp_path.iterdir()) == []
        assert await journal.shipped([log.source]) == [None]


async def test_damage_is_reported_once_passed_over_and_kept_aside(tmp_path, journal):
    log = writer_in(tmp_path, segment_bytes=600)
    records = [exchange(str(number)) for number in range(12)]
    for record in records:
        log.append(record)
    log.close()
    segments = locallog.list_segments(tmp_path, log.source)
    data = bytearray(segments[1].path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    segments[1].path.write_bytes(data)
    with capture_logs() as logs:
        async with shipping(tmp_path, journal) as shipper:
            assert await shipper.drain(10)
            assert shipper.corrupt == 1
            await journal.publish_archived({archived_field(STREAM, log.source): log.offset})
            await until(lambda: locallog.list_sources(tmp_path) == [])
    assert [line["event"] for line in logs] == ["log_damaged"]
    (aside,) = tmp_path.iterdir()
    assert aside.name == f"damaged-{log.source}-{segments[1].path.name}"
    assert aside.read_bytes() == data
    found = await journalled(journal, STREAM)
    assert len(records) - 6 <= len(found) < len(records)
    assert found[-1] == records[-1]
    assert [record for record in records if record in found] == found


async def test_damage_under_a_living_writer_waits_for_the_next_segment(tmp_path, journal):
    log = writer_in(tmp_path, segment_bytes=400)
    log.append(exchange("first"))
    log.append(exchange("second"))
    (segment,) = locallog.list_segments(tmp_path, log.source)
    data = bytearray(segment.path.read_bytes())
    data[-1] ^= 0xFF
    segment.path.write_bytes(data)
    async with shipping(tmp_path, journal) as shipper:
        assert await shipper.drain(10)
        assert (shipper.shipped, shipper.corrupt) == (1, 0)
        last = exchange("x" * 400)
        log.append(last)
        await until(lambda: shipper.shipped == 2)
        assert shipper.corrupt == 1
    log.close()
    assert (await journalled(journal, STREAM))[-1] == last


async def test_records_of_nobody_are_counted_and_passed_over(tmp_path, journal):
    log = writer_in(tmp_path)
    log.append(b"no record")
    log.append(exchange())
    log.append(b"nor this")
    log.close()
    async with shipping(tmp_path, journal) as shipper:
        assert await shipper.drain(10)
        assert (shipper.shipped, shipper.unreadable) == (1, 2)
    assert await journal.shipped([log.source]) == [log.offset]


async def test_redis_away_is_said_once_and_costs_nothing(tmp_path, free_port):
    folder, log_folder = tmp_path / "redis", tmp_path / "log"
    log = writer_in(log_folder)
    journal = Journal.connect(f"redis://127.0.0.1:{free_port}/0")
    with capture_logs() as logs:
        async with shipping(log_folder, journal) as shipper:
            log.append(exchange("one"))
            await until(lambda: not shipper.redis_up)
            assert not await shipper.drain(0.2)
            await asyncio.sleep(0.5)
            server = await asyncio.to_thread(start_redis, folder, free_port)
            assert await shipper.drain(10)
            assert shipper.redis_up
            await asyncio.to_thread(server.stop)
            log.append(exchange("two"))
            await until(lambda: not shipper.redis_up)
            server = await asyncio.to_thread(start_redis, folder, free_port)
            assert await shipper.drain(10)
            assert shipper.shipped == 2
    assert [line["event"] for line in logs] == ["shipping_stopped", "shipping_again"] * 2
    assert len(await journalled(journal, STREAM)) == 2
    await journal.close()
    log.close()
    await asyncio.to_thread(server.stop)


async def test_an_emptied_redis_gets_everything_that_is_left(tmp_path, journal, redis_url):
    log = writer_in(tmp_path)
    records = [exchange(str(number)) for number in range(10)]
    for record in records:
        log.append(record)
    async with shipping(tmp_path, journal) as shipper:
        assert await shipper.drain(10)
        with redis.Redis.from_url(redis_url) as client:
            client.flushall()
        await until(lambda: shipper.shipped == 20)
        assert await journalled(journal, STREAM) == records
    log.close()


async def test_two_shippers_do_not_ship_twice(tmp_path, journal):
    log = writer_in(tmp_path, segment_bytes=3000)
    async with shipping(tmp_path, journal, 700) as one, shipping(tmp_path, journal, 1100) as two:
        records = [exchange(str(number)) for number in range(300)]
        for number, record in enumerate(records):
            log.append(record)
            if number % 10 == 0:
                await asyncio.sleep(0)
        assert await one.drain(10)
        assert await two.drain(10)
    log.close()
    assert await journalled(journal, STREAM) == records


async def test_a_full_stream_holds_shipping_until_it_is_trimmed(tmp_path, journal):
    """Nobody archives: Redis grows to about twice the cap, and what comes stays on disk."""
    cap, log = 50_000, writer_in(tmp_path)
    records = [exchange("x" * 1000) for _ in range(300)]
    for record in records:
        assert log.append(record)
    with capture_logs() as logs:
        async with shipping(tmp_path, journal, batch_bytes=4000, stream_bytes=cap) as shipper:
            await until(lambda: shipper.held)
            held = shipper.shipped
            assert 0 < held < 300
            assert 2 * cap <= await journal.memory(STREAM) < 3 * cap
            await asyncio.sleep(1.5)
            assert (shipper.held, shipper.shipped) == (True, held)
            assert shipper.lag_bytes > 100_000
            assert shipper.lag_seconds > 1
            assert not await shipper.drain(0.1)
            seen: list[bytes] = []
            while len(seen) < 300:  # the archiver, archiving and trimming
                entries = await journal.read(STREAM, count=1000)
                seen += [payload for entry in entries for _, payload in entry.frames()]
                if entries:
                    milliseconds, _, number = entries[-1].id.partition("-")
                    await journal.trim(STREAM, f"{milliseconds}-{int(number) + 1}")
                await asyncio.sleep(0.01)
            assert await shipper.drain(10)
            assert (shipper.held, shipper.lag_bytes) == (False, 0)
    assert seen == records
    events = [line["event"] for line in logs]
    assert events[:2] == ["shipping_held", "shipping_goes_on"]
    log.close()


def starts(folder: Path, source: str) -> list[int]:
    return [segment.start for segment in locallog.list_segments(folder, source)]


async def test_near_the_bound_the_oldest_shipped_segments_go_first(tmp_path, journal):
    """Nobody archives: what Redis holds makes room for what it does not, the oldest of all sources first."""
    logs = [writer_in(tmp_path, segment_bytes=5000) for _ in range(2)]
    for number in range(60):
        logs[number >= 30].append(exchange("x" * 500))
    logs[0].close()
    before = [starts(tmp_path, log.source) for log in logs]
    size = locallog.used_bytes(tmp_path)
    space = Space(max_bytes=size)  # nine tenths of it are passed
    with capture_logs() as lines:
        async with shipping(tmp_path, journal, space=space) as shipper:
            await until(lambda: shipper.sacrificed > 0)
            assert await shipper.drain(10)
            assert await journal.length(STREAM) > 0
            gone = shipper.sacrificed
            assert starts(tmp_path, logs[0].source) == before[0][gone:], "the older source's first"
            assert starts(tmp_path, logs[1].source) == before[1]
            assert locallog.used_bytes(tmp_path) <= 0.9 * size
            await asyncio.sleep(1.2)
            assert shipper.sacrificed == gone, "and no more than that"
    assert [line["event"] for line in lines] == ["shipped_segments_deleted"]
    assert len(await journalled(journal, STREAM)) == 60
    logs[1].close()


async def test_on_a_full_disk_what_is_not_shipped_is_never_deleted(tmp_path, journal):
    """A stream is full, so only some is shipped; the disk is tight whatever is deleted."""
    log = writer_in(tmp_path, segment_bytes=5000)
    records = [exchange("x" * 1000) for _ in range(200)]
    for record in records:
        log.append(record)
    space = Space(min_free_bytes=1000, disk_free=lambda folder: 1500)
    bounds = {"stream_bytes": 30_000, "space": space}
    async with shipping(tmp_path, journal, batch_bytes=2500, **bounds) as shipper:
        await until(lambda: shipper.held and shipper.sacrificed > 0)
        await asyncio.sleep(1.2)
        (position,) = await journal.shipped([log.source])
        assert position is not None
        left = locallog.list_segments(tmp_path, log.source)
        assert left[0].start <= position < left[1].start, "all that is wholly shipped is gone, and nothing else"
    kept, offset = [], position
    while frames := locallog.read_frames(tmp_path, log.source, offset, 1 << 20):
        kept += [payload for _, payload in frames]
        offset = frames[-1][0]
    assert await journalled(journal, STREAM) + kept == records
    log.close()


async def test_what_an_emptied_redis_forgot_is_not_deleted(tmp_path, journal, redis_url):
    log = writer_in(tmp_path, segment_bytes=2000)
    records = [exchange(str(number)) for number in range(40)]
    for record in records:
        log.append(record)
    free = [10_000]
    space = Space(min_free_bytes=1000, disk_free=lambda folder: free[0])
    async with shipping(tmp_path, journal, stream_bytes=1, space=space) as shipper:
        await until(lambda: shipper.held)  # after one batch, of one segment
        with redis.Redis.from_url(redis_url) as client:
            client.flushall()
        free[0] = 1500
        await until(lambda: shipper.sacrificed > 0)
    again = await journalled(journal, STREAM)
    left = [payload for _, payload in locallog.read_frames(tmp_path, log.source, 0, 1 << 20)]
    assert again + left[-(len(records) - len(again)) :] == records
    assert len(left) >= len(records) - len(again)
    log.close()


async def test_sources_are_asked_for_again_while_they_drain(tmp_path, journal, redis_url):
    log = writer_in(tmp_path)
    log.append(exchange())
    async with shipping(tmp_path, journal) as shipper:
        assert await shipper.drain(10)
        with redis.Redis.from_url(redis_url) as client:
            client.flushall()
        assert await shipper.drain(10)
        assert len(await journalled(journal, STREAM)) == 1
    log.close()
