"""The ledger: trust, the audit trail, the archive's index; on SQLite."""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import replace

import pytest
from sqlalchemy import create_engine, text

from core.errors import SettingsError, StartupError, StateError
from core.ledger import ArchiveFile, Ledger, Move, Trust
from core.ledger.tables import SCHEMA

STREAM = "tutelage:desk:exchanges"


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/state/ledger.db"


@pytest.fixture
def ledger(url):
    ledger = Ledger(url)
    ledger.migrate()
    yield ledger
    ledger.close()


def verdict(label: str, trusted: bool, version: str = "3") -> Trust:
    return Trust("desk", version, label, trusted, 0.9, 40, "36 of 40 agree", 1.5)


def file_of(path: str, rows: int = 10, task: str = "desk", low: float = 0.0, high: float = 10.0) -> ArchiveFile:
    return ArchiveFile(path, task, "exchanges", "2025-06-01", rows, 100, low, high, 1.0)


def test_trust_is_replaced_as_a_whole(ledger):
    assert ledger.trust("desk", "3") == {}
    assert ledger.trusted("desk") == {}
    ledger.set_trust("desk", "3", [verdict("refund", True), verdict("other", False)])
    ledger.set_trust("desk", "4", [verdict("refund", False, "4")])
    assert ledger.trust("desk", "3") == {"refund": verdict("refund", True), "other": verdict("other", False)}
    assert ledger.trusted("desk") == {"3": frozenset({"refund"}), "4": frozenset()}
    ledger.set_trust("desk", "3", [verdict("other", True)])
    assert ledger.trusted("desk")["3"] == {"other"}
    ledger.set_trust("desk", "3", [])
    assert "3" not in ledger.trusted("desk")
    assert ledger.trusted("elsewhere") == {}
    with pytest.raises(ValueError, match="not about"):
        ledger.set_trust("desk", "5", [verdict("refund", True)])


def test_the_audit_trail_is_newest_first(ledger):
    ledger.audit("cli:ann", "promote", "desk", "3", {"from": "2"})
    ledger.audit("cli:ann", "rollback", "desk", "2")
    ledger.audit("trainer", "train", "elsewhere")
    assert [entry.action for entry in ledger.audit_trail()] == ["train", "rollback", "promote"]
    (newest,) = ledger.audit_trail("desk", limit=1)
    assert (newest.actor, newest.action, newest.version, newest.detail) == ("cli:ann", "rollback", "2", {})
    assert ledger.audit_trail("desk")[1].detail == {"from": "2"}


def test_it_is_still_there_after_a_restart(ledger, url):
    ledger.set_trust("desk", "3", [verdict("refund", True)])
    again = Ledger(url)
    again.migrate()
    assert again.id == ledger.id
    assert again.trusted("desk") == ledger.trusted("desk")
    again.close()


def test_a_newer_ledger_is_refused(ledger, url):
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE meta SET value = '99' WHERE key = 'schema'"))
    engine.dispose()
    with pytest.raises(StateError, match=rf"schema 99, newer than {SCHEMA}.*upgrade"):
        ledger.migrate()


def test_an_older_ledger_becomes_one_of_today(ledger, url):
    ledger.set_trust("desk", "3", [verdict("refund", True)])
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE api_keys"))
        connection.execute(text("UPDATE meta SET value = '1' WHERE key = 'schema'"))
    ledger.migrate()
    assert ledger.keys.all() == []
    assert ledger.trusted("desk") == {"3": {"refund"}}
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT value FROM meta WHERE key = 'schema'")) == str(SCHEMA)
    engine.dispose()


def test_several_may_migrate_at_once(url):
    ledgers = [Ledger(url) for _ in range(6)]
    failures: list[Exception] = []

    def migrate(ledger: Ledger) -> None:
        try:
            ledger.migrate()
        except Exception as error:  # noqa: BLE001 - a thread's failure is the test's
            failures.append(error)

    threads = [threading.Thread(target=migrate, args=(ledger,)) for ledger in ledgers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len({ledger.id for ledger in ledgers}) == 1
    for ledger in ledgers:
        ledger.close()


def test_a_wrong_url_and_a_file_in_the_way_say_what_to_do(tmp_path):
    with pytest.raises(SettingsError, match="SQLAlchemy URL"):
        Ledger("somewhere")
    (tmp_path / "file").touch()
    with pytest.raises(StartupError, match=r"ledger\.url"):
        Ledger(f"sqlite:///{tmp_path}/file/ledger.db")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StartupError, match=r"ledger\.url"):
        Ledger(f"sqlite:///{tmp_path}/folder").migrate()


def test_files_count_only_with_the_positions_they_cover(ledger):
    index = ledger.archive_index
    assert index.commit([file_of("a")], [Move(STREAM, "log_a", 0, 100)])
    assert index.commit([file_of("b")], [Move(STREAM, "log_a", 100, 200), Move(STREAM, "log_b", 0, 50)])
    # Too late, in three ways: each time nothing of it may remain.
    assert not index.commit([file_of("c")], [Move(STREAM, "log_a", 100, 200)])
    assert not index.commit([file_of("c")], [Move(STREAM, "log_b", 0, 50)])
    assert not index.commit([file_of("c")], [Move(STREAM, "log_c", 0, 10), Move(STREAM, "log_d", 5, 10)])
    assert index.positions() == {(STREAM, "log_a"): 200, (STREAM, "log_b"): 50}
    assert [file.path for file in index.files("desk", "exchanges")] == ["a", "b"]
    assert index.count("desk", "exchanges") == 20
    assert index.count("elsewhere", "exchanges") == 0
    assert index.tasks("exchanges") == ["desk"]


def test_files_are_found_by_time(ledger):
    index = ledger.archive_index
    index.commit([file_of("a", low=0, high=10), file_of("b", low=10, high=20), file_of("c", low=30, high=40)], [])
    assert [file.path for file in index.files("desk", "exchanges", since=15)] == ["b", "c"]
    assert [file.path for file in index.files("desk", "exchanges", since=10, until=29)] == ["a", "b"]


def test_merged_files_are_forgotten_later(ledger):
    index = ledger.archive_index
    one, two, merged = file_of("a"), file_of("b"), file_of("c", rows=20)
    index.commit([one, two], [])
    assert index.replace([one, two], merged, at=100.0)
    assert not index.replace([one, two], replace(merged, path="d"), at=100.0)
    assert [file.path for file in index.files("desk", "exchanges")] == ["c"]
    assert index.count("desk", "exchanges") == 20
    assert index.known_paths() == {"a", "b", "c"}
    assert index.forget_retired(before=50.0) == []
    assert sorted(index.forget_retired(before=200.0)) == ["a", "b"]
    assert index.known_paths() == {"c"}


def test_the_gateway_may_import_it():
    script = (
        "import sys, core.ledger\n"
        "heavy = {'pyarrow', 'duckdb', 'pandas', 'torch', 'mlflow', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
