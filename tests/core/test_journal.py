"""The journal, on a real Redis."""

from __future__ import annotations

import asyncio

import pytest
from redis.exceptions import ResponseError

from core.journal import START, archived_field, stream_name, stream_of, stream_parts
from core.records import Answerer, Exchange, Feedback, Kind, Reason, encode

STREAM = "tutelage:desk:exchanges"
OTHER = "tutelage:desk:feedback"


def test_a_record_knows_its_stream():
    exchange = Exchange("ex_1", "desk", 0.0, Answerer.STUDENT, Reason.CHAMPION, 200, request=b"\xff" * 100)
    feedback = Feedback("fb_1", "desk", "ex_1", "refund", 0.0)
    assert stream_of(encode(exchange)) == STREAM == stream_name("desk", Kind.EXCHANGE)
    assert stream_of(encode(feedback)) == OTHER
    assert stream_parts(OTHER) == ("desk", Kind.FEEDBACK)


@pytest.mark.parametrize(
    "payload",
    [
        b"\xc1",
        b"not a record",
        b"\x81\xa4task\xa1x",
        b"\x82\xa4type\xa8exchange\xa4task\xa1\xff",
        encode(Feedback("f", "../../etc", "e", "l", 0.0)),
        encode(Feedback("f", "a:b", "e", "l", 0.0)),
    ],
)
def test_what_is_no_record_of_ours_has_no_stream(payload):
    assert stream_of(payload) is None


async def test_a_batch_and_the_position_move_together(journal):
    assert await journal.ship("log_a", None, 30, {STREAM: [(10, b"one"), (30, b"two")], OTHER: [(20, b"three")]}) == 30
    assert await journal.shipped(["log_a", "log_b"]) == [30, None]
    assert await journal.streams() == [STREAM, OTHER]
    (entry,) = await journal.read(STREAM)
    assert (entry.source, entry.end, entry.count) == ("log_a", 30, 2)
    assert entry.frames() == [(10, b"one"), (30, b"two")]
    assert (await journal.read(OTHER))[0].frames() == [(20, b"three")]


async def test_nothing_is_added_from_where_the_source_is_not(journal):
    await journal.ship("log_a", None, 30, {STREAM: [(30, b"one")]})
    assert await journal.ship("log_a", None, 50, {STREAM: [(50, b"two")]}) == 30
    assert await journal.ship("log_a", 20, 50, {STREAM: [(50, b"two")]}) == 30
    assert await journal.ship("log_b", 10, 50, {STREAM: [(50, b"two")]}) is None
    assert await journal.length(STREAM) == 1
    assert await journal.ship("log_a", 30, 50, {}) == 50
    await journal.forget("log_a")
    assert await journal.shipped(["log_a"]) == [None]


async def test_reading_goes_on_behind_an_entry_and_waits(journal):
    assert await journal.read(STREAM, block_ms=1) == []
    for number in range(1, 6):
        await journal.ship("log_a", number - 1 or None, number, {STREAM: [(number, b"x")]})
    first = await journal.read(STREAM, START, count=2)
    rest = await journal.read(STREAM, first[-1].id, count=10)
    assert [entry.end for entry in first + rest] == [1, 2, 3, 4, 5]
    both = await journal.read_many({STREAM: rest[0].id, OTHER: START}, count=1)
    assert [entry.end for entry in both[STREAM]] == [4]
    assert OTHER not in both


async def test_trimming_keeps_what_is_not_older(journal):
    ids: list[str] = []
    for number in range(1, 6):
        await journal.ship("log_a", number - 1 or None, number, {STREAM: [(number, b"x" * 1000)]})
        ids.append((await journal.read(STREAM, ids[-1] if ids else START))[0].id)
    before = await journal.memory(STREAM)
    assert await journal.first_id(STREAM) == ids[0]
    assert await journal.trim(STREAM, ids[3]) == 3
    assert await journal.first_id(STREAM) == ids[3]
    assert await journal.memory(STREAM) < before


async def test_entries_and_streams_say_how_many_records_were_added(journal):
    await journal.ship("log_a", None, 30, {STREAM: [(10, b"one"), (30, b"two")], OTHER: [(20, b"three")]})
    await journal.ship("log_b", None, 10, {STREAM: [(10, b"four")]})
    assert [entry.total for entry in await journal.read(STREAM)] == [2, 3]
    assert await journal.totals([STREAM, OTHER, "tutelage:desk:comparisons"]) == [3, 1, 0]
    await journal.trim(STREAM, "9999999999999-0")
    assert await journal.totals([STREAM]) == [3]


async def test_an_entry_of_a_tutelage_that_did_not_count_is_read(journal):
    await journal._redis.xadd(STREAM, {"s": "log_a", "o": 10, "n": 1, "b": b"\x90"}, id="1700000000123-0")
    (entry,) = await journal.read(STREAM)
    assert (entry.total, entry.at) == (0, 1_700_000_000.123)


async def test_sizes_are_those_of_all_streams(journal):
    assert await journal.sizes() == {}
    await journal.ship("log_a", None, 30, {STREAM: [(10, b"x" * 100_000)], OTHER: [(20, b"three")]})
    sizes = await journal.sizes()
    assert sizes[OTHER] < 100_000 < sizes[STREAM]


async def test_what_is_archived_is_published(journal):
    one, two = archived_field(STREAM, "log_a"), archived_field(OTHER, "log_a")
    await journal.publish_archived({one: 10, two: 20})
    await journal.publish_archived({one: 30})
    assert await journal.archived([one, two, "unknown"]) == [30, 20, None]
    await journal.publish_archived({two: 5}, replace=True)
    assert await journal.archived([one, two]) == [None, 5]
    await journal.publish_archived({}, replace=True)
    assert await journal.archived([]) == []


async def test_an_emptied_redis_is_another_incarnation(journal, redis_url):
    first = await journal.incarnation()
    assert await journal.incarnation() == first
    await journal._redis.flushall()
    assert await journal.incarnation() != first


async def ship(journal, number: int) -> None:
    await journal.ship("log_a", number - 1 or None, number, {STREAM: [(number, b"x")]})


async def test_each_entry_is_given_to_one_of_a_group(journal):
    for number in (1, 2, 3):
        await ship(journal, number)
    one, two = journal.group(STREAM, "shadow", "one"), journal.group(STREAM, "shadow", "two")
    await one.join()
    await two.join()
    first, second = await one.read(count=2), await two.read(block_ms=1)
    assert [entry.end for entry in first + second] == [1, 2, 3]
    assert await one.read(block_ms=1) == []
    assert await one.pending() == 3
    await one.acknowledge([entry.id for entry in first + second])
    await one.acknowledge([])
    assert await one.pending() == 0


async def test_what_a_dead_consumer_was_given_is_claimed_and_a_living_ones_is_not(journal):
    dead, living, other = (journal.group(STREAM, "shadow", name) for name in ("dead", "living", "other"))
    await dead.join()
    for number in (1, 2):
        await ship(journal, number)
    lost = await dead.read(count=1)
    kept = await living.read(count=1)
    assert await other.claim(60_000) == ([], 0)
    await asyncio.sleep(0.15)
    await living.keep([entry.id for entry in kept])
    assert await other.claim(100) == (lost, 0)
    await living.keep([])


async def test_what_was_trimmed_before_it_was_done_is_counted_and_let_go(journal):
    dead, other = journal.group(STREAM, "shadow", "dead"), journal.group(STREAM, "shadow", "other")
    await dead.join()
    for number in (1, 2):
        await ship(journal, number)
    entries = await dead.read()
    await journal.trim(STREAM, entries[1].id)
    assert await other.claim(0) == (entries[1:], 1)
    assert await other.pending() == 1


async def test_who_leaves_a_group_leaves_nothing_undone(journal):
    busy, idle, gone, other = (journal.group(STREAM, "shadow", name) for name in ("busy", "idle", "gone", "other"))
    await busy.join()
    for number, group in enumerate((busy, idle, gone), 1):
        await ship(journal, number)
        (entry,) = await group.read()
        if group is not busy:
            await group.acknowledge([entry.id])
    await busy.leave(60_000)
    await idle.leave(60_000)
    assert await _consumers(journal) == {b"busy", b"gone"}
    await other.leave(0)
    assert await _consumers(journal) == {b"busy"}


async def test_an_emptied_redis_has_no_group(journal):
    group = journal.group(STREAM, "shadow", "one")
    await group.join()
    await journal._redis.flushall()
    with pytest.raises(ResponseError, match="NOGROUP"):
        await group.read(block_ms=1)


async def _consumers(journal) -> set[bytes]:
    return {consumer["name"] for consumer in await journal._redis.xinfo_consumers(STREAM, "shadow")}
