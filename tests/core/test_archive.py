"""The archive: what goes in comes out, once, typed; on a folder and on another filesystem."""

from __future__ import annotations

import os
import time
from pathlib import Path

import duckdb
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.archive import Archive, Row, fits
from core.archive.columns import (
    arrow_schema,
    by_day,
    repeated_columns,
    to_comparison,
    to_exchange,
    to_feedback,
    to_table,
    utc,
)
from core.ids import mint
from core.ledger import Move
from core.records import Answerer, Comparison, Exchange, Feedback, Kind, Outcome, Reason, StudentAnswer, Usage

STREAM = "tutelage:desk:exchanges"
FEEDBACK = "tutelage:desk:feedback"
NOON = 1_750_000_000.0
NOW = float(int(time.time()))


@pytest.fixture(params=["folder", "memory"])
def archive(request, tmp_path, ledger):
    return Archive(str(tmp_path / "archive") if request.param == "folder" else f"memory://{tmp_path.name}", ledger)


def exchange(at: float = NOON, **values) -> Exchange:
    return Exchange(mint(), "desk", at, Answerer.STUDENT, Reason.CHAMPION, 200, **values)


FULL = exchange(
    at=NOW + 0.123456,
    model="desk",
    version="7",
    template="plain",
    text="Wo ist mein Geld? “Grüße” 🦊",
    request=b'{"model": "desk"}\x00\xff',
    output="refund",
    label="refund",
    student=StudentAnswer("7", "refund", 0.75, "abc", b"\x00\x3c", b"\x01\x02"),
    completion_id="chatcmpl-1",
    request_id="req-1",
    user="u1",
    key="9x2kq7bd",
    usage=Usage(12, 3),
    cost_usd=0.00012,
    streamed=True,
    complete=False,
    total_ms=3.5,
    upstream_ms=2.5,
    error="cut",
    shadow_probability=0.125,
    shadow=True,
)


def put(archive: Archive, *records: Exchange, start: int = 0, source: str = "log_a", rows: int = 100) -> bool:
    placed = [Row(source, start + position + 1, record) for position, record in enumerate(records)]
    return archive.append(STREAM, placed, [Move(STREAM, source, start, start + len(records))], rows)


def test_every_field_comes_back(archive):
    bare = exchange(at=NOW - 1)
    assert put(archive, FULL, bare)
    assert archive.find(FULL.id) == FULL
    assert archive.find("chatcmpl-1", task="desk") == FULL
    assert archive.find(bare.id) == bare
    assert archive.find("chatcmpl-2") is None
    assert archive.find(mint()) is None
    assert archive.find(FULL.id, task="elsewhere") is None


def test_every_field_has_a_column():
    for record, kind in ((Exchange, Kind.EXCHANGE), (Feedback, Kind.FEEDBACK), (Comparison, Kind.COMPARISON)):
        fields = set(record.__struct_fields__)
        wanted = fields - {"student", "challenger", "usage"}
        for answer in fields & {"student", "challenger"}:
            wanted |= {f"{answer}_{name}" for name in StudentAnswer.__struct_fields__}
        if "usage" in fields:
            wanted |= set(Usage.__struct_fields__)
        assert set(arrow_schema(kind).names) == wanted | {"log_source", "log_offset"}


def test_feedback_comes_back(archive):
    feedback = Feedback(mint("fb"), "desk", "ex_1", "refund", NOON, "was wrong", "agent")
    assert archive.append(FEEDBACK, [Row("log_a", 5, feedback)], [Move(FEEDBACK, "log_a", 0, 5)], 10)
    (row,) = archive.query("SELECT * FROM records", "desk", Kind.FEEDBACK).to_pylist()
    assert to_feedback(row) == feedback
    assert archive.count("desk", Kind.FEEDBACK) == 1
    assert archive.count("desk") == 0


def test_comparisons_come_back(archive):
    student = StudentAnswer("7", "refund", 0.75, "abc", b"\x00\x3c", b"\x01\x02")
    full = Comparison(
        mint("cmp"),
        "desk",
        "ex_1",
        NOON + 0.25,
        NOON + 9.5,
        Outcome.ANSWERED,
        0.125,
        Answerer.STUDENT,
        student,
        teacher_label="order",
        teacher_distribution=b"\x00\x3c",
        cluster="0123456789abcdef",
        text="where is it",
        cost_usd=0.001,
        error="",
        challenger=msgspec.structs.replace(student, version="8"),
    )
    bare = msgspec.structs.replace(
        full, exchange="ex_2", at=NOON, outcome=Outcome.TIMED_OUT, teacher_label=None, challenger=None, text=None
    )
    stream = "tutelage:desk:comparisons"
    rows = [Row("log_a", 5, full), Row("log_a", 9, bare)]
    assert archive.append(stream, rows, [Move(stream, "log_a", 0, 9)], 10)
    assert [to_comparison(row) for row in archive.comparisons("desk").to_pylist()] == [bare, full]
    assert [to_comparison(row) for row in archive.comparisons("desk", since=NOON + 0.1).to_pylist()] == [full]
    assert archive.comparisons("desk", limit=1).num_rows == 1
    assert archive.comparisons("elsewhere").num_rows == 0


def test_an_empty_archive_answers(archive):
    assert archive.count("desk") == 0
    assert archive.exchanges("desk").num_rows == 0
    assert archive.exchanges("desk").schema.names == arrow_schema(Kind.EXCHANGE).names
    assert archive.sweep() == 0


def test_a_file_holds_one_day_and_no_more_rows_than_allowed(tmp_path, ledger):
    archive = Archive(str(tmp_path / "archive"), ledger)
    records = [exchange(at=NOON + hours * 3600) for hours in range(48)]
    assert put(archive, *records, rows=10)
    files = sorted((tmp_path / "archive").rglob("*.parquet"))
    assert {path.parent.name for path in files} == {"day=2025-06-15", "day=2025-06-16", "day=2025-06-17"}
    assert max(pq.read_metadata(path).num_rows for path in files) == 10
    schema = pq.read_schema(files[0])
    assert schema.metadata[b"tutelage.schema"] == b"1"
    assert schema.field("at").type == pa.timestamp("us", tz="UTC")
    assert schema.field("student_distribution").type == pa.binary()
    assert archive.exchanges("desk").column("id").to_pylist() == [record.id for record in records]


def test_exchanges_are_the_newest_in_order_of_time(archive):
    records = [exchange(at=NOON + minutes * 60) for minutes in (3, 1, 2, 0)]
    put(archive, *records)
    in_order = sorted(records, key=lambda record: record.at)
    ids = [record.id for record in in_order]
    assert archive.exchanges("desk").column("id").to_pylist() == ids
    assert archive.exchanges("desk", limit=2).column("id").to_pylist() == ids[2:]
    assert archive.exchanges("desk", since=NOON + 60).column("id").to_pylist() == ids[1:]
    assert archive.exchanges("desk", since=NOON + 61, limit=1).column("id").to_pylist() == ids[3:]
    assert str(archive.exchanges("desk").schema.field("at").type) == "timestamp[us, tz=UTC]"


def test_who_is_late_leaves_nothing_behind(archive):
    assert put(archive, exchange(), exchange())
    assert not put(archive, exchange(), exchange())
    assert put(archive, exchange(), start=2)
    assert archive.count("desk") == 3
    assert archive.query("SELECT count(*) AS n FROM records", "desk").to_pylist() == [{"n": 3}]
    assert len(archive._walk()) == 2


def test_only_old_leftovers_of_our_own_are_swept(tmp_path, ledger, monkeypatch):
    archive = Archive(str(tmp_path / "archive"), ledger)
    put(archive, exchange())
    (leftover,) = archive.write(STREAM, [Row("log_a", 9, exchange())], 10)
    foreign = tmp_path / "archive" / "desk" / "exchanges" / "day=2025-06-15" / f"{mint('a00000000')}.parquet"
    foreign.write_bytes(b"of another ledger")
    (foreign.parent / "notes.parquet").write_bytes(b"somebody's")
    assert archive.sweep() == 0
    now = time.time()
    monkeypatch.setattr("core.archive.store.time.time", lambda: now + 3600)
    assert archive.sweep() == 1
    assert not (tmp_path / "archive" / leftover.path).exists()
    assert foreign.exists()
    assert archive.count("desk") == archive.exchanges("desk").num_rows == 1


def test_small_files_are_merged_and_stay_readable_meanwhile(tmp_path, ledger, monkeypatch):
    archive = Archive(str(tmp_path / "archive"), ledger)
    records = [exchange(at=NOW + number / 1000, text=str(number)) for number in range(40)]
    for number, record in enumerate(records):
        put(archive, record, start=number)
    before = archive.exchanges("desk")
    assert archive.merge("desk", Kind.EXCHANGE, 1000) == 40
    assert archive.exchanges("desk").equals(before)
    assert archive.find(records[7].id) == records[7]
    assert archive.count("desk") == 40
    assert archive.merge("desk", Kind.EXCHANGE, 1000) == 0
    assert len(archive._walk()) == 41
    now = time.time()
    monkeypatch.setattr("core.archive.store.time.time", lambda: now + 3600)
    assert archive.sweep() == 40
    assert len(archive._walk()) == 1
    assert archive.exchanges("desk").equals(before)


def test_a_query_reaches_nothing_but_the_records(archive, tmp_path):
    put(archive, exchange())
    (tmp_path / "secret.csv").write_text("a,b\n1,2\n")
    for sql in (
        f"SELECT * FROM read_csv('{tmp_path}/secret.csv')",
        f"SELECT * FROM glob('{tmp_path}/*')",
        "SELECT * FROM records; SET enable_external_access = true",
        "SELECT nothing FROM records",
    ):
        with pytest.raises(duckdb.Error):
            archive.query(sql, "desk")
    with pytest.raises((duckdb.Error, ValueError)):
        archive.query(f"COPY records TO '{tmp_path}/out.csv'", "desk")
    assert not (tmp_path / "out.csv").exists()


def test_older_files_lack_newer_columns(tmp_path, ledger):
    archive = Archive(str(tmp_path / "archive"), ledger)
    put(archive, exchange(user="u", key="9x2kq7bd"))
    (path,) = (tmp_path / "archive").rglob("*.parquet")
    pq.write_table(pq.read_table(path).drop_columns(["user", "key"]), path)
    table = archive.exchanges("desk")
    assert table.column("user").to_pylist() == table.column("key").to_pylist() == [None]
    read = to_exchange(table.to_pylist()[0])
    assert read.user == read.key == ""
    usage = "SELECT coalesce(key, '') AS key, count(*) AS n FROM records GROUP BY ALL"
    assert archive.query(usage, "desk").to_pylist() == [{"key": "", "n": 1}]


def test_what_fits_no_column_is_told():
    assert fits(Row("log_a", 1, FULL))
    assert not fits(Row("log_a", 1, msgspec.structs.replace(FULL, usage=Usage(2**63, 0))))
    assert not fits(Row("log_a", 1, msgspec.structs.replace(FULL, at=1e18)))
    assert not fits(Row("log_a", 1, msgspec.structs.replace(FULL, at=float("nan"))))


@pytest.mark.parametrize("stream", ["tutelage:../../etc:exchanges", "tutelage:..:exchanges", "tutelage:a/b:exchanges"])
def test_a_task_is_never_a_path(tmp_path, ledger, stream):
    archive = Archive(str(tmp_path / "archive"), ledger)
    with pytest.raises(ValueError, match="is no stream"):
        archive.write(stream, [Row("log_a", 1, exchange())], 10)
    assert not [path for path in Path(tmp_path).rglob("*.parquet") if os.fspath(path)]


CALENDAR = st.floats(utc(0).replace(year=2).timestamp(), utc(0).replace(year=9990).timestamp())
DAYS = st.floats(NOON - 3 * 86_400, NOON + 3 * 86_400)


@given(st.lists(CALENDAR | DAYS, min_size=1, max_size=20))
def test_times_and_days_are_those_of_the_calendar(times):
    rows = [Row("log_a", number, exchange(at=at)) for number, at in enumerate(times)]
    assert to_table(rows, Kind.EXCHANGE).column("at").to_pylist() == [utc(at) for at in times]
    days: dict[str, list[Row]] = {}
    for row in rows:
        days.setdefault(utc(row.record.at).date().isoformat(), []).append(row)
    assert {day: list(part) for day, part in by_day(rows).items()} == days


@pytest.mark.parametrize("at", [float("nan"), float("inf"), float("-inf"), 1e18, -1e12])
def test_a_time_beyond_the_calendar_is_refused(at):
    row = Row("log_a", 1, exchange(at=at))
    assert not fits(row)
    with pytest.raises((ValueError, OverflowError)):
        by_day([Row("log_a", 0, exchange()), row])


@pytest.mark.parametrize("kind", Kind)
def test_columns_with_few_values_are_columns(kind):
    assert set(repeated_columns(kind)) <= set(arrow_schema(kind).names)
    assert "log_source" in repeated_columns(kind)
    assert "text" not in repeated_columns(kind)
