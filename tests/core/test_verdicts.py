"""Verdicts reach the archive once, whatever Redis forgets, on a real Redis."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from redis.exceptions import RedisError

from core.archive import Archive
from core.archiver import Archiver
from core.ids import mint
from core.journal import Journal, stream_name
from core.ledger import Ledger, Review, Why
from core.records import Kind, decode
from core.verdicts import carry_verdicts, keep_carrying

NOON = 1_750_000_000.0


def entry(task: str = "desk", **values: Any) -> Review:
    return Review(
        mint("rv"), task, mint(), Why.DISAGREEMENT, "1", "refund", "order", 0.95, None, 0, 0, "", "text", NOON, **values
    )


def judge(ledger: Ledger, *tasks: str) -> list[Review]:
    entries = [entry(task) for task in tasks]
    ledger.reviews.add(entries)
    judged = [ledger.reviews.judge(one.id, "order", actor="cli:jo", at=NOON) for one in entries]
    return [one for one in judged if one is not None]


async def archive_all(journal: Journal, archive: Archive, ledger: Ledger) -> None:
    archiver = Archiver(journal, archive, ledger, flush_seconds=0.05)
    task = asyncio.create_task(archiver.run())
    assert await archiver.drain(20)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def archived(archive: Archive, task: str = "desk") -> list[str]:
    return sorted(archive.query("SELECT id FROM records", task, Kind.FEEDBACK).column("id").to_pylist())


async def test_each_verdict_is_carried_once_by_however_many(ledger, archive, journal):
    first = judge(ledger, *(["desk"] * 5), "mail")
    counts = await asyncio.gather(*(carry_verdicts(ledger, journal) for _ in range(4)))
    assert max(counts) == 6
    assert await carry_verdicts(ledger, journal) == 0
    entries = await journal.read(stream_name("desk", Kind.FEEDBACK))
    records = [decode(payload) for entry in entries for _, payload in entry.frames()]
    assert [record.id for record in records] == [one.feedback for one in first if one.task == "desk"]
    later = judge(ledger, "desk")
    assert await carry_verdicts(ledger, journal) == 1
    await archive_all(journal, archive, ledger)
    assert archived(archive) == sorted(one.feedback for one in [*first, *later] if one.task == "desk")
    assert archived(archive, "mail") == [first[-1].feedback]


async def test_what_redis_forgets_is_carried_again_and_archived_once(ledger, archive, journal, redis_url):
    first = judge(ledger, "desk", "desk")
    await carry_verdicts(ledger, journal)
    await archive_all(journal, archive, ledger)
    await journal._redis.flushall()
    later = judge(ledger, "desk")
    assert await carry_verdicts(ledger, journal) == 3
    await archive_all(journal, archive, ledger)
    assert archived(archive) == sorted(one.feedback for one in [*first, *later])


async def test_redis_being_away_costs_nothing(ledger, journal, free_port):
    judge(ledger, "desk")
    nowhere = Journal.connect(f"redis://127.0.0.1:{free_port}/0")
    with pytest.raises(RedisError):
        await carry_verdicts(ledger, nowhere)
    waiting = asyncio.create_task(keep_carrying(ledger, nowhere, 0.01))
    carrying = asyncio.create_task(keep_carrying(ledger, journal, 0.01))
    stream = stream_name("desk", Kind.FEEDBACK)
    async with asyncio.timeout(10):
        while not await journal.read(stream, block_ms=100):
            pass
    assert not waiting.done()
    for task in (waiting, carrying):
        task.cancel()
    await asyncio.gather(waiting, carrying, return_exceptions=True)
    await nowhere.close()


async def test_a_forgotten_exchange_takes_its_verdict_along(ledger, archive, journal):
    gone, kept = judge(ledger, "desk", "desk")
    ledger.forgotten.add(exchanges=[gone.exchange])
    await carry_verdicts(ledger, journal)  # it was quicker than whoever forgets
    await archive_all(journal, archive, ledger)
    assert archived(archive) == [kept.feedback]
