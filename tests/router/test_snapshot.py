"""What the gateway knows when others are away."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from core.ledger import Ledger
from router.known_trust import KnownTrust, read_file, write_file
from tests.router.conftest import run_gateway, serve_gateway
from tests.support.students import LABELS


def test_trust_outlives_a_restart_without_the_ledger(tmp_path, student_url):
    with ExitStack() as stack:
        before = run_gateway(stack, tmp_path, student_url)
        before.trust("order_status")
        gone = tmp_path / "a-folder-where-the-ledger-was"
        gone.mkdir()
        settings = before.settings.model_copy(
            update={"ledger": before.settings.ledger.model_copy(update={"url": f"sqlite:///{gone}"})}
        )
        after = serve_gateway(stack, settings, before.teacher, Ledger(settings.ledger_url))
        assert after.ask("where is it").headers["x-tutelage-reason"] == "champion"
        assert after.ask("a refund").headers["x-tutelage-reason"] == "not_trusted"


def test_a_new_students_trust_is_seen_without_a_restart(gateway):
    gateway.trust()
    assert gateway.ask("where is it").headers["x-tutelage-reason"] == "not_trusted"
    gateway.trust(*LABELS)
    assert gateway.ask("where is it").headers["x-tutelage-reason"] == "champion"


def test_several_workers_may_keep_trust_at_once(tmp_path):
    path, trust = tmp_path / "trust.json", KnownTrust({"desk": {"1": frozenset({"a"})}}, {"desk": {"1": 0.7}})
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda _: write_file(path, trust), range(64)))
    assert read_file(path) == trust
    assert [file.name for file in tmp_path.iterdir()] == ["trust.json"]
