"""Forgetting on the way: logs, streams, the archiver and the archive, on real files, a real Redis and a real ledger."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from core import locallog
from core.archive import Archive
from core.archive.removal import Removal
from core.archiver import Archiver
from core.forgetting import hollow, hollow_bytes, hollow_logs, hollow_stream, logged_records
from core.ids import mint
from core.journal import Journal, stream_name
from core.ledger import Ledger, Move
from core.locallog import LogWriter
from core.records import (
    Answerer,
    Comparison,
    Exchange,
    Feedback,
    Kind,
    Outcome,
    Reason,
    Record,
    StudentAnswer,
    decode,
    encode,
    kind_of,
)
from core.shipper import Shipper

NOON = 1_750_000_000.0


def exchange(**values: Any) -> Exchange:
    given: dict[str, Any] = {"text": "my secret", "user": "jo", "at": NOON} | values
    at = given.pop("at")
    return Exchange(mint(), "desk", at, Answerer.STUDENT, Reason.CHAMPION, 200, **given)


def comparison(of: Exchange) -> Comparison:
    student = StudentAnswer("1", "refund", 0.9, "set", b"dd", b"vv")
    outcome = Outcome.ANSWERED
    return Comparison(mint("cmp"), "desk", of.id, of.at, of.at, outcome, 0.1, Answerer.STUDENT, student, text=of.text)


def feedback(of: Exchange, name: str = "") -> Feedback:
    return Feedback(mint("fb"), "desk", name or of.id, "refund", of.at, comment="my secret")


def tombstones(ledger):
    found = ledger.forgotten.tombstones()
    found.refresh()
    return found


@contextlib.asynccontextmanager
async def archiving(journal: Journal, archive: Archive, ledger: Ledger) -> AsyncIterator[Archiver]:
    archiver = Archiver(journal, archive, ledger, flush_seconds=0.05)
    task = asyncio.create_task(archiver.run())
    try:
        yield archiver
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


class Source:
    """Ships without a log; a record's offset is its number, times ten."""

    def __init__(self, journal: Journal, name: str = "log_a") -> None:
        self.journal, self.name, self.offset = journal, name, 0

    async def ship(self, *records: Record) -> None:
        batches: dict[str, list[tuple[int, bytes]]] = {}
        before = self.offset or None
        for record in records:
            self.offset += 10
            batches.setdefault(stream_name("desk", kind_of(record)), []).append((self.offset, encode(record)))
        assert await self.journal.ship(self.name, before, self.offset, batches) == self.offset


EXCHANGES = stream_name("desk", Kind.EXCHANGE)


@given(
    st.builds(
        exchange,
        text=st.none() | st.text(max_size=400),
        user=st.text(max_size=40),
        output=st.none() | st.text(max_size=20),
        request=st.binary(max_size=70_000),
        error=st.text(max_size=20),
    )
)
def test_a_hollow_record_fits_where_the_record_was(record):
    payload = encode(record)
    emptied = hollow_bytes(record, len(payload))
    assert len(emptied) == len(payload)
    read = decode(emptied)
    assert read == hollow(record) == hollow(read)
    assert isinstance(read, Exchange)
    assert (read.text, read.output, read.user, read.request, read.error) == (None, None, "", b"", "")
    assert (read.id, read.at, read.answered_by) == (record.id, record.at, record.answered_by)


def test_comparisons_and_feedback_are_hollowed_as_well():
    for record in (comparison(exchange()), feedback(exchange())):
        read = decode(hollow_bytes(record, len(encode(record))))
        assert b"secret" not in encode(read)
        assert read == hollow(record)


def test_logs_are_overwritten_where_they_lie(tmp_path):
    writer = LogWriter(tmp_path, mint("log"), 600, 1 << 20)
    records = [exchange(text=f"secret number {number}") for number in range(12)]
    for record in records[:-1]:
        assert writer.append(encode(record))
    ends = [end for end, _ in locallog.read_frames(tmp_path, writer.source, 0, 1 << 20)]
    gone = {records[0].id, records[5].id, records[10].id}
    assert hollow_logs(tmp_path, lambda record: record.id in gone).records == 3
    assert hollow_logs(tmp_path, lambda record: record.id in gone).records == 0
    assert writer.append(encode(records[-1]))  # its writer has noticed nothing
    frames = locallog.read_frames(tmp_path, writer.source, 0, 1 << 20)
    assert [end for end, _ in frames][: len(ends)] == ends
    assert list(logged_records(tmp_path)) == [hollow(record) if record.id in gone else record for record in records]
    data = b"".join(path.read_bytes() for path in tmp_path.rglob("*.log"))
    assert b"secret number 5" not in data
    assert b"secret number 6" in data
    writer.close()


def test_damage_is_passed_over_and_told(tmp_path):
    writer = LogWriter(tmp_path, mint("log"), 400, 1 << 20)
    records = [exchange(text=f"secret number {number}") for number in range(8)]
    for record in records:
        writer.append(encode(record))
    first = locallog.list_segments(tmp_path, writer.source)[0]
    first.path.write_bytes(b"\xff" * first.size)
    done = hollow_logs(tmp_path, lambda record: record.id == records[-1].id)
    assert (done.records, done.left) == (1, [first.path])
    writer.close()


async def test_a_stream_keeps_its_entries_and_its_groups(journal):
    source = Source(journal)
    records = [exchange(text=f"secret {number}") for number in range(9)]
    for start in (0, 3, 6):
        await source.ship(*records[start : start + 3])
    group = journal.group(EXCHANGES, "shadow", "one")
    await group.join()
    first, second = await group.read(2)
    await group.acknowledge([first.id])
    before = [(entry.id, entry.source, entry.end, entry.count) for entry in await journal.read(EXCHANGES)]
    gone = {records[0].id, records[4].id}
    assert await hollow_stream(journal, EXCHANGES, lambda record: record.id in gone) == 2
    assert await hollow_stream(journal, EXCHANGES, lambda record: record.id in gone) == 0
    entries = await journal.read(EXCHANGES)
    assert [(entry.id, entry.source, entry.end, entry.count) for entry in entries] == before
    found = [decode(payload) for entry in entries for _, payload in entry.frames()]
    assert found == [hollow(record) if record.id in gone else record for record in records]
    assert await group.pending() == 1
    assert [entry.id for entry in await group.read()] == [before[2][0]]
    assert [entry.id for entry in (await group.claim(0))[0]] == [second.id, before[2][0]]
    await source.ship(exchange())
    assert len(await journal.read(EXCHANGES)) == 4


def test_tombstones_know_exchanges_and_users(ledger):
    one, later, other = exchange(completion_id="chatcmpl-1"), exchange(at=NOON + 2), exchange(user="bo")
    assert not tombstones(ledger)
    ledger.forgotten.add(exchanges=[other.id, "chatcmpl-1"], users=["jo"], at=NOON + 1)
    known = tombstones(ledger)
    assert [known.hold(record) for record in (one, later, other)] == [True, False, True]
    assert [known.hold(record) for record in (comparison(other), feedback(one, "chatcmpl-1"))] == [True, True]
    assert not known.refresh()
    ledger.forgotten.add(users=["jo"], at=NOON + 3)
    assert known.refresh()
    assert known.hold(later)


def test_a_user_may_be_forgotten_in_one_task(ledger):
    ledger.forgotten.add(users=["jo"], task="another", at=NOON + 1)
    assert not tombstones(ledger).hold(exchange())
    ledger.forgotten.add(users=["jo"], task="desk", at=NOON + 1)
    assert tombstones(ledger).hold(exchange())


def test_tombstones_name_nobody(tmp_path, ledger):
    one = exchange(user="jo-very-secret")
    ledger.forgotten.add(exchanges=[one.id], users=[one.user])
    data = b"".join(path.read_bytes() for path in tmp_path.glob("ledger.db*"))
    assert one.user.encode() not in data
    assert one.id.encode() not in data


async def test_what_is_on_its_way_is_left_out_and_does_not_come_back(journal, archive, ledger):
    source, gone, kept = Source(journal), exchange(completion_id="chatcmpl-1"), exchange(user="bo")
    ledger.forgotten.add(exchanges=[gone.id])
    await source.ship(gone, kept, comparison(gone), comparison(kept), feedback(gone), feedback(gone, "chatcmpl-1"))
    async with archiving(journal, archive, ledger) as archiver:
        assert await archiver.drain(10)
        assert await archiver.drain(10)
        assert archiver.forgotten == 4
    assert archive.exchanges("desk").column("id").to_pylist() == [kept.id]
    assert archive.comparisons("desk").column("exchange").to_pylist() == [kept.id]
    assert archive.count("desk", Kind.FEEDBACK) == 0
    held = [decode(payload) for entry in await journal.read(EXCHANGES) for _, payload in entry.frames()]
    assert held == [hollow(gone), kept]
    async with archiving(journal, archive, ledger) as again:
        assert await again.drain(10)
        assert again.archived == 0


async def test_what_comes_later_of_a_forgotten_user_takes_along_what_was_faster(journal, archive, ledger):
    source, gone, back = Source(journal), exchange(), exchange(at=NOON + 100)
    await source.ship(comparison(gone), feedback(gone))
    async with archiving(journal, archive, ledger) as archiver:
        assert await archiver.drain(10)
        assert archive.count("desk", Kind.COMPARISON) == archive.count("desk", Kind.FEEDBACK) == 1
        ledger.forgotten.add(users=["jo"], at=NOON + 1)
        await source.ship(gone, back)
        assert await archiver.drain(10)
    assert archive.exchanges("desk").column("id").to_pylist() == [back.id]
    assert archive.count("desk", Kind.COMPARISON) == archive.count("desk", Kind.FEEDBACK) == 0
    assert tombstones(ledger).hold(comparison(gone))


async def test_a_logs_forgotten_records_do_not_hold_its_segments_up(tmp_path, journal, archive, ledger):
    folder = tmp_path / "log"
    writer = LogWriter(folder, mint("log"), 600, 1 << 20)
    records = [exchange() for _ in range(12)]
    for record in records:
        writer.append(encode(record))
    writer.close()
    gone = {record.id for record in records[::2]} | {records[-1].id}
    ledger.forgotten.add(exchanges=gone)
    hollow_logs(folder, tombstones(ledger).hold)
    shipper = Shipper(folder, journal, poll_seconds=0.01)
    shipping = asyncio.create_task(shipper.run())
    try:
        async with archiving(journal, archive, ledger), asyncio.timeout(20):
            while locallog.list_sources(folder):  # noqa: ASYNC110 - a folder has no event
                await asyncio.sleep(0.02)
    finally:
        shipping.cancel()
        await asyncio.gather(shipping, return_exceptions=True)
    assert set(archive.exchanges("desk").column("id").to_pylist()) == {record.id for record in records} - gone


def write(archive: Archive, *records: Record, source: str) -> None:
    from core.archive import Row

    stream = stream_name("desk", kind_of(records[0]))
    rows = [Row(source, number, record) for number, record in enumerate(records, 1)]
    assert archive.append(stream, rows, [Move(stream, source, 0, len(rows))], 100)


def test_rows_are_removed_and_everything_else_stays(tmp_path, archive, ledger):
    records = [
        exchange(at=NOON + 86_400 * number, completion_id=f"c-{number}", user=f"u{number}") for number in range(4)
    ]
    for number, record in enumerate(records):
        write(archive, record, exchange(user="bo", at=record.at), source=f"log_{number}")
        write(archive, comparison(record), source=f"log_{number}")
    alone = exchange()
    write(archive, alone, source="log_alone")
    removal = Removal(archive, ledger)
    assert removal.exchanges_of("desk", {"u1", "u3"}, NOON + 86_400 * 2) == {records[1].id, "c-1"}
    assert removal.aliases_of("desk", "c-2") == {records[2].id, "c-2"}
    names = {records[0].id, "c-2", alone.id}
    positions = ledger.archive_index.positions()
    assert removal.remove("desk", Kind.EXCHANGE, names) == 3
    assert removal.remove("desk", Kind.EXCHANGE, names) == 0
    assert removal.remove("desk", Kind.COMPARISON, names) == 1
    assert ledger.archive_index.positions() == positions
    left = set(archive.exchanges("desk").column("id").to_pylist())
    assert not left & names
    assert archive.count("desk") == len(left) == 6
    on_disk = {str(path.relative_to(tmp_path / "archive")) for path in (tmp_path / "archive").rglob("*.parquet")}
    assert on_disk == ledger.archive_index.known_paths()


def test_files_that_were_merged_away_are_cleared_as_well(tmp_path, archive, ledger):
    records = [exchange() for _ in range(32)]
    for number, record in enumerate(records):
        write(archive, record, source=f"log_{number:02}")
    assert archive.merge("desk", Kind.EXCHANGE, 1000) == 32
    assert Removal(archive, ledger).remove("desk", Kind.EXCHANGE, {records[7].id}) == 1
    assert archive.count("desk") == 31
    assert len(list((tmp_path / "archive").rglob("*.parquet"))) == 32  # the other old ones, and the new one


def test_nothing_is_listed_that_was_not_held_against_the_newest_tombstones(archive, ledger):
    from core.archive import Row

    record = exchange()
    before = tombstones(ledger).revision
    ledger.forgotten.add(exchanges=[record.id])
    rows, moves = [Row("log_a", 10, record)], [Move(EXCHANGES, "log_a", 0, 10)]
    assert not archive.append(EXCHANGES, rows, moves, 100, before)
    assert archive.count("desk") == 0
    assert ledger.archive_index.positions() == {}
    assert archive.append(EXCHANGES, [], moves, 100, before + 1)
