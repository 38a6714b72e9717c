"""API keys in the ledger: shown once, kept as digests, revoked for good, and all of it audited."""

from __future__ import annotations

import hashlib
import re
import threading

import pytest
from sqlalchemy import create_engine, text

from core.errors import DataError, StateError
from core.ledger import ApiKey, Ledger
from core.limits import Limits

LIMITS = Limits(requests_per_minute=60, tokens_per_minute=9000, dollars_per_day=1.5, dollars_per_month=0.0)


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/ledger.db"


@pytest.fixture
def ledger(url):
    ledger = Ledger(url)
    ledger.migrate()
    yield ledger
    ledger.close()


def test_what_is_created_is_found_again(ledger):
    assert ledger.keys.all() == []
    key, secret = ledger.keys.create("app", actor="cli:ann", at=1.5, tasks=["desk", "mail"], limits=LIMITS)
    bare, _ = ledger.keys.create("other", actor="cli:ann", at=2.5)
    assert key == ApiKey(
        key.id, "app", hashlib.sha256(secret.encode()).digest(), frozenset({"desk", "mail"}), LIMITS, 1.5
    )
    assert ledger.keys.all() == [key, bare]
    assert bare.limits == Limits()
    assert key.may("desk")
    assert not key.may("elsewhere")
    assert bare.may("elsewhere")


def test_a_key_names_itself_and_holds_256_random_bits(ledger):
    made = [ledger.keys.create(f"app-{number}", actor="me", at=1.0) for number in range(20)]
    for key, secret in made:
        assert re.fullmatch(rf"tut-{key.id}-[A-Za-z0-9_-]{{43}}", secret)
        assert re.fullmatch(r"[0-9a-hjkmnp-tv-z]{8}", key.id)
    assert len({key.id for key, _ in made}) == len({secret[13:] for _, secret in made}) == 20


def test_the_secret_is_nowhere_on_disk(ledger, tmp_path):
    key, secret = ledger.keys.create("app", actor="me", at=1.0)
    ledger.close()
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert key.id.encode() in stored
    assert secret.encode() not in stored
    assert secret.rsplit(key.id + "-")[1].encode() not in stored
    assert secret not in repr(key)
    assert "digest" not in repr(key)


def test_a_revoked_key_stays_and_frees_its_name(ledger):
    key, _ = ledger.keys.create("app", actor="me", at=1.0)
    with pytest.raises(DataError, match=rf"named 'app' already \({key.id}\)"):
        ledger.keys.create("app", actor="me", at=2.0)
    assert ledger.keys.revoke(key.id, actor="me", at=3.0)
    assert not ledger.keys.revoke(key.id, actor="me", at=4.0)
    assert not ledger.keys.revoke("nothing", actor="me", at=4.0)
    second, _ = ledger.keys.create("app", actor="me", at=5.0)
    assert [(found.id, found.revoked_at) for found in ledger.keys.all()] == [(key.id, 3.0), (second.id, None)]


def test_all_of_it_is_audited_and_nothing_that_failed(ledger):
    key, _ = ledger.keys.create("app", actor="cli:ann", at=1.0, tasks=["desk"], limits=LIMITS)
    with pytest.raises(DataError):
        ledger.keys.create("app", actor="cli:bob", at=2.0)
    ledger.keys.revoke(key.id, actor="cli:bob", at=3.0)
    ledger.keys.revoke(key.id, actor="cli:bob", at=4.0)
    revoked, created = ledger.audit_trail()
    assert (created.at, created.actor, created.action) == (1.0, "cli:ann", "create_key")
    assert (revoked.at, revoked.actor, revoked.action) == (3.0, "cli:bob", "revoke_key")
    assert created.detail["key"] == revoked.detail["key"] == key.id
    assert created.detail["limits"]["requests_per_minute"] == 60
    assert key.digest.hex() not in str(created.detail)


@pytest.mark.parametrize("name", ["", "a b", "-a", "a\n", "[red]", "x" * 65, "ä"])
def test_a_name_is_plain(ledger, name):
    with pytest.raises(DataError, match="is no name for a key"):
        ledger.keys.create(name, actor="me", at=1.0)
    assert ledger.keys.all() == []


@pytest.mark.parametrize("damage", ["tasks = '{'", "limits = '[]'", """limits = '{"requests_per_minute": 0}'"""])
def test_a_damaged_key_is_told_and_never_guessed(url, ledger, damage):
    key, _ = ledger.keys.create("app", actor="me", at=1.0)
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE api_keys SET {damage}")
    engine.dispose()
    with pytest.raises(StateError, match=rf"API key {key.id} in the ledger is damaged .*mend its row"):
        ledger.keys.all()


def test_of_several_at_once_one_gets_the_name(url, ledger):
    made, refused = [], []

    def create() -> None:
        own = Ledger(url)
        try:
            made.append(own.keys.create("app", actor="me", at=1.0))
        except DataError as error:
            refused.append(error)
        finally:
            own.close()

    threads = [threading.Thread(target=create) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(made), len(refused)) == (1, 5)
    assert len(ledger.keys.all()) == len(ledger.audit_trail()) == 1


def test_the_database_itself_refuses_a_second_valid_key_of_a_name(url, ledger):
    ledger.keys.create("app", actor="me", at=1.0)
    engine = create_engine(url)
    with engine.begin() as connection, pytest.raises(Exception, match="UNIQUE"):
        connection.execute(text("INSERT INTO api_keys SELECT 'x', name, digest, tasks, limits, 1, NULL FROM api_keys"))
    engine.dispose()
