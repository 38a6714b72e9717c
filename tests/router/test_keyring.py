"""Who is let in: the key itself and nothing else, whatever is away, and nobody while nobody knows."""

from __future__ import annotations

import asyncio
import stat
import string
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import create_engine, text

from core.errors import AuthenticationError, KeyNotAllowedError, StartupError, UnavailableError
from core.ledger import ApiKey, Ledger
from core.ledger.keys import digest_of
from core.limits import Limits
from core.settings import load_settings
from router.admission.keykeeper import KeyKeeper, read_keys, write_keys
from router.admission.keyring import KeyRing, check_task
from router.serve import bind
from tests.support.processes import write_settings

SECRET = "tut-9x2kq7bd-" + "Aa0-_" * 8 + "xyz"
REVOKED = "tut-0ldk3y00-" + "z" * 43


def key_of(secret: str, *, tasks: frozenset[str] = frozenset(), revoked_at: float | None = None) -> ApiKey:
    return ApiKey(
        secret[4:12], "app", digest_of(secret.encode()), tasks, Limits(requests_per_minute=5), 1.0, revoked_at
    )


KEY = key_of(SECRET)
RING = KeyRing([KEY, key_of(REVOKED, revoked_at=2.0)])


def found(token: str | bytes) -> ApiKey | None:
    """What the ring says of a token; None where it is refused."""
    sent = token if isinstance(token, bytes) else token.encode("utf-8", "surrogatepass")
    try:
        return RING.find(b"Bearer " + sent)
    except AuthenticationError:
        return None


@pytest.mark.parametrize(
    "header", [f"Bearer {SECRET}", f"bearer {SECRET}", f"BEARER  {SECRET} ", f"Bearer \t{SECRET}\t"]
)
def test_the_key_is_let_in(header):
    assert RING.find(header.encode()) is KEY


@given(st.text(alphabet=string.ascii_letters + string.digits + "-_", max_size=80) | st.text(max_size=80))
def test_any_other_string_is_refused(token):
    assert found(token) is (KEY if token.strip(" \t") == SECRET else None)


@given(st.integers(0, len(SECRET)), st.text(min_size=1, max_size=3), st.sampled_from(["replace", "insert", "cut"]))
@example(0, "T", "replace")
@example(12, "_", "replace")
@example(len(SECRET), "\0", "insert")
def test_almost_the_key_is_refused(at, piece, how):
    cut = at + (len(piece) if how != "insert" else 0)
    token = SECRET[:at] + ("" if how == "cut" else piece) + SECRET[cut:]
    assert found(token) is (KEY if token.strip(" \t") == SECRET else None)


@given(st.binary(max_size=300) | st.binary(max_size=60).map(lambda data: b"Bearer tut-9x2kq7bd-" + data))
@example(b"")
@example(b"Bearer")
@example(b"Bearer ---")
@example(b"Bearer tut-9x2kq7bd-")
@example(b"Bearer " + b"-" * 100_000)
@example(SECRET.encode())
@example(f"Basic {SECRET}".encode())
@example(f"Bearer Bearer {SECRET}".encode())
@example(f"Bearer {SECRET}, Bearer {SECRET}".encode())
def test_whatever_is_sent_is_refused_properly_and_never_repeated(header):
    with pytest.raises(AuthenticationError) as caught:
        RING.find(header)
    error = caught.value
    assert (error.status, error.type, error.code) == (401, "invalid_request_error", "invalid_api_key")
    assert error.message == (
        "the API key is not valid here; send one of this gateway's as `Authorization: Bearer tut-...` "
        "(`tutelage keys create` makes one)"
    )


def test_none_and_a_revoked_one_are_refused_with_what_to_do():
    with pytest.raises(AuthenticationError, match=r"send it as `Authorization: Bearer tut-\.\.\.`"):
        RING.find(None)
    with pytest.raises(AuthenticationError, match="'app' was revoked; ask for another") as caught:
        RING.find(f"Bearer {REVOKED}".encode())
    assert REVOKED not in caught.value.message


def test_authentication_is_off_only_where_no_key_was_ever_created():
    assert KeyRing([]).find(None) is None
    assert KeyRing([]).find(b"Bearer anything") is None
    all_revoked = KeyRing([key_of(REVOKED, revoked_at=2.0)])
    for header in (None, b"Bearer anything", f"Bearer {REVOKED}".encode()):
        with pytest.raises(AuthenticationError):
            all_revoked.find(header)


def test_while_the_keys_are_not_known_everybody_is_asked_to_come_back():
    ring = KeyRing(None)
    assert not ring.known
    for header in (None, f"Bearer {SECRET}".encode()):
        with pytest.raises(UnavailableError) as caught:
            ring.find(header)
        assert (caught.value.status, caught.value.retry_after) == (503, 1.0)


def test_a_key_is_for_its_tasks():
    check_task(None, "desk")
    check_task(KEY, "desk")
    narrow = key_of(SECRET, tasks=frozenset({"mail", "desk"}))
    check_task(narrow, "desk")
    with pytest.raises(KeyNotAllowedError, match="'app' may not use 'other'; it may use desk, mail") as caught:
        check_task(narrow, "other")
    error = caught.value
    assert (error.status, error.type, error.code, error.param) == (
        403,
        "invalid_request_error",
        "model_not_allowed",
        "model",
    )


@pytest.fixture
def file(tmp_path):
    return tmp_path / "state" / "gateway" / "keys.json"


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger(f"sqlite:///{tmp_path}/state/ledger.db")
    yield ledger
    ledger.close()


@pytest.fixture
def away(tmp_path):
    """A ledger that cannot be opened."""
    (tmp_path / "a-folder").mkdir()
    ledger = Ledger(f"sqlite:///{tmp_path}/a-folder")
    yield ledger
    ledger.close()


def header(secret: str) -> bytes:
    return f"Bearer {secret}".encode()


async def kept(ledger: Ledger, file) -> KeyKeeper:
    keeper = KeyKeeper(ledger, file)
    await keeper.refresh()
    return keeper


async def test_keys_are_seen_and_revoked_while_it_runs(ledger, file):
    keeper = KeyKeeper(ledger, file)
    assert not keeper.ring.known
    await keeper.refresh()
    assert keeper.ring.find(None) is None
    key, secret = ledger.keys.create("app", actor="me", at=1.0)
    before = keeper.ring
    await keeper.refresh()
    assert keeper.ring.find(header(secret)) == key
    assert before.find(None) is None  # a ring never changes
    ring = keeper.ring
    await keeper.refresh()
    assert keeper.ring is ring
    ledger.keys.revoke(key.id, actor="me", at=2.0)
    await keeper.refresh()
    with pytest.raises(AuthenticationError, match="revoked"):
        keeper.ring.find(header(secret))
    with pytest.raises(AuthenticationError):
        keeper.ring.find(None)


async def test_it_looks_again_by_itself(ledger, file):
    keeper = KeyKeeper(ledger, file)
    looking = asyncio.create_task(keeper.keep_fresh(0.01))
    try:
        ledger.migrate()
        _, secret = ledger.keys.create("app", actor="me", at=1.0)
        deadline = time.monotonic() + 10
        while not (keeper.ring.known and _lets_in(keeper, secret)):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)


def _lets_in(keeper: KeyKeeper, secret: str) -> bool:
    return keeper.ring.find(header(secret)) is not None


async def test_a_restart_without_the_ledger_knows_who_may_ask(ledger, away, file):
    ledger.migrate()
    key, secret = ledger.keys.create("app", actor="me", at=1.0, tasks=["desk"], limits=Limits(tokens_per_minute=7))
    gone, revoked = ledger.keys.create("gone", actor="me", at=1.0)
    ledger.keys.revoke(gone.id, actor="me", at=2.0)
    await kept(ledger, file)
    after = await kept(away, file)
    assert after.ring.find(header(secret)) == key
    for sent in (None, header(revoked), header(SECRET)):
        with pytest.raises(AuthenticationError):
            after.ring.find(sent)
    stored = file.read_text()
    assert secret not in stored
    assert secret.split("-", 2)[2] not in stored
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["keys.json"]


async def test_a_restart_without_the_ledger_knows_that_there_were_no_keys(ledger, away, file):
    await kept(ledger, file)
    assert (await kept(away, file)).ring.find(None) is None


async def test_keys_go_on_while_the_ledger_is_away(ledger, file, tmp_path):
    ledger.migrate()
    key, secret = ledger.keys.create("app", actor="me", at=1.0)
    keeper = await kept(ledger, file)
    ledger.close()
    database = tmp_path / "state" / "ledger.db"
    kept_aside = database.rename(tmp_path / "aside.db")
    database.mkdir()
    await keeper.refresh()
    assert keeper.ring.find(header(secret)) == key
    database.rmdir()
    kept_aside.rename(database)
    ledger.keys.revoke(key.id, actor="me", at=2.0)
    await keeper.refresh()
    with pytest.raises(AuthenticationError):
        keeper.ring.find(header(secret))


@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff\xfe", b'{"format":1}', b'{"format":99,"keys":[]}', b"[]"])
async def test_without_ledger_and_file_nobody_is_let_in(away, file, content):
    if content is not None:
        file.parent.mkdir(parents=True)
        file.write_bytes(content)
    keeper = await kept(away, file)
    with pytest.raises(UnavailableError):
        keeper.ring.find(None)


async def test_a_ledger_of_tomorrow_lets_nobody_in(ledger, file, tmp_path):
    ledger.migrate()
    engine = create_engine(f"sqlite:///{tmp_path}/state/ledger.db")
    with engine.begin() as connection:
        connection.execute(text("UPDATE meta SET value = '99' WHERE key = 'schema'"))
    engine.dispose()
    with pytest.raises(UnavailableError):
        (await kept(ledger, file)).ring.find(None)


async def test_a_ledger_that_lost_its_keys_switches_nothing_off(ledger, file, tmp_path):
    ledger.migrate()
    key, secret = ledger.keys.create("app", actor="me", at=1.0)
    running = await kept(ledger, file)
    ledger.close()
    for path in (tmp_path / "state").glob("ledger.db*"):
        path.unlink()
    ledger.migrate()
    await running.refresh()
    restarted = await kept(ledger, file)
    for keeper in (running, restarted):
        assert keeper.ring.find(header(secret)) == key
        with pytest.raises(AuthenticationError):
            keeper.ring.find(None)
    _, other = ledger.keys.create("app", actor="me", at=2.0)
    for keeper in (running, restarted):
        await keeper.refresh()
        assert keeper.ring.find(header(other)) is not None
        with pytest.raises(AuthenticationError):
            keeper.ring.find(header(secret))


async def test_a_folder_that_cannot_be_written_stops_nobody(ledger, tmp_path):
    ledger.migrate()
    key, secret = ledger.keys.create("app", actor="me", at=1.0)
    (tmp_path / "file").touch()
    keeper = await kept(ledger, tmp_path / "file" / "keys.json")
    assert keeper.ring.find(header(secret)) == key


def test_what_is_kept_comes_back(file):
    keys = (KEY, key_of(REVOKED, tasks=frozenset({"desk"}), revoked_at=2.0))
    write_keys(file, keys)
    assert read_keys(file) == keys
    write_keys(file, ())
    assert read_keys(file) == ()


def settings_of(tmp_path, host: str):
    document = {
        "state": str(tmp_path / "state"),
        "gateway": {"host": host, "port": 0},
        "tasks": {"desk": {"labels": ["a", "b"], "teacher": {"base_url": "http://127.0.0.1:1/v1", "model": "t"}}},
    }
    return load_settings(write_settings(tmp_path / "tutelage.yaml", document))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_this_machine_alone_needs_no_key(tmp_path, host):
    bind(settings_of(tmp_path, host)).close()
    assert not (tmp_path / "state" / "ledger.db").exists()


def test_other_machines_need_a_key_that_is_valid(tmp_path, ledger):
    settings = settings_of(tmp_path, "0.0.0.0")
    with pytest.raises(StartupError, match=r"0\.0\.0\.0 is open .* `tutelage keys create NAME`"):
        bind(settings)
    key, _ = ledger.keys.create("app", actor="me", at=1.0)
    bind(settings).close()
    ledger.keys.revoke(key.id, actor="me", at=2.0)
    with pytest.raises(StartupError, match="no valid API key"):
        bind(settings)


def test_without_the_ledger_the_last_known_keys_count(tmp_path):
    settings = settings_of(tmp_path, "0.0.0.0")
    (tmp_path / "state" / "ledger.db").mkdir(parents=True)
    with pytest.raises(StartupError, match=r"API keys cannot be read: .*ledger\.url"):
        bind(settings)
    write_keys(settings.keys_file, ())
    with pytest.raises(StartupError, match="no valid API key"):
        bind(settings)
    write_keys(settings.keys_file, (KEY,))
    bind(settings).close()
