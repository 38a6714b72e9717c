"""Retention: whole days of the archive, and what the journal holds, go when they are too old; nothing else does."""

from __future__ import annotations

import structlog

from core.archive import Archive, Row
from core.archive.removal import Removal
from core.archiver.retention import Retention
from core.ids import mint
from core.journal import START, stream_name
from core.ledger import Move
from core.records import Answerer, Exchange, Feedback, Kind, Reason, Record, encode, kind_of

DAY = 86_400.0
MIDNIGHT = 20_250 * DAY


def exchange(at: float, task: str = "desk") -> Exchange:
    return Exchange(mint(), task, at, Answerer.STUDENT, Reason.CHAMPION, 200, text="hello")


def write(archive: Archive, record: Record) -> None:
    stream, source = stream_name(record.task, kind_of(record)), mint("log")
    assert archive.append(stream, [Row(source, 10, record)], [Move(stream, source, 0, 10)], 100)


def retention(journal, archive, ledger, now: float, days: dict[str, int]) -> Retention:
    return Retention(journal, Removal(archive, ledger), days, structlog.get_logger(), clock=lambda: now)


async def test_days_that_are_too_old_leave_the_archive(journal, archive, ledger):
    records = [exchange(MIDNIGHT + offset) for offset in (-1, 0, DAY, 2 * DAY)]
    for record in records:
        write(archive, record)
    write(archive, Feedback(mint("fb"), "desk", records[0].id, "refund", MIDNIGHT - 1))
    write(archive, exchange(MIDNIGHT - 30 * DAY, "another"))
    # At the end of the second day, two whole days are kept: the first, the second, and what there is of today.
    await retention(journal, archive, ledger, MIDNIGHT + 2 * DAY + 10, {"desk": 2}).expire({})
    left = archive.exchanges("desk").column("id").to_pylist()
    assert left == [record.id for record in records[1:]]
    assert archive.count("desk", Kind.FEEDBACK) == 0
    assert archive.count("another") == 1
    await retention(journal, archive, ledger, MIDNIGHT + 3 * DAY, {"desk": 2}).expire({})
    assert archive.exchanges("desk").column("id").to_pylist() == left[1:]


async def test_the_journal_is_trimmed_by_age_and_never_in_front_of_the_archive(journal, archive, ledger):
    stream, offset = stream_name("desk", Kind.EXCHANGE), 0
    for _ in range(4):
        assert await journal.ship(
            "log_a", offset or None, offset + 10, {stream: [(offset + 10, encode(exchange(0.0)))]}
        )
        offset += 10
    ids = [entry.id for entry in await journal.read(stream)]
    now = float(ids[-1].partition("-")[0]) / 1000

    def at(moment: float, days: dict[str, int]) -> Retention:
        return retention(journal, archive, ledger, moment, days)

    assert await at(now + 10 * DAY, {}).expire({stream: ids[-1]}) == 0
    assert await at(now + 10 * DAY, {"desk": 20}).expire({stream: ids[-1]}) == 0
    assert await at(now + 10 * DAY, {"desk": 1}).expire({stream: START}) == 0
    assert await at(now + 10 * DAY, {"desk": 1}).expire({stream: ids[2]}) == 2
    assert [entry.id for entry in await journal.read(stream)] == ids[2:]
