"""`tutelage keys`, as a person and as a script see it."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from core.errors import DataError, SettingsError
from core.ledger.keys import digest_of
from core.limits import Limits
from tutelage.cli import build_app


@pytest.fixture
def run(config):
    def call(*arguments: str, answer: str | None = None):
        command = ["keys", *arguments, "--config", str(config)]
        return CliRunner().invoke(build_app(), command, input=answer, env={"COLUMNS": "250"})

    return call


def test_a_key_is_created_and_shown_once(run, ledger):
    result = run(
        "create", "app", "--task", "desk", "--task", "mail", "--requests-per-minute", "60", "--dollars-per-day", "2.5"
    )
    assert result.exit_code == 0, result.output
    (key,) = ledger.keys.all()
    secret = result.stdout.removesuffix("\n")
    assert digest_of(secret.encode()) == key.digest
    assert key.tasks == {"desk", "mail"}
    assert key.limits == Limits(requests_per_minute=60, dollars_per_day=2.5)
    assert "may use desk, mail; limits: 60 requests/min, $2.5/day" in result.stderr
    assert "not shown again" in result.stderr
    assert "It is the first" in result.stderr
    assert secret not in result.stderr
    assert "It is the first" not in run("create", "other").stderr
    assert secret not in run("list").output + run("list", "--json").output
    (entry,) = [entry for entry in ledger.audit_trail() if entry.detail["name"] == "app"]
    assert entry.action == "create_key"
    assert entry.actor.startswith("cli:")


def test_scripts_get_the_key_alone_or_all_as_json(run, ledger):
    quiet = run("create", "one", "--quiet")
    assert digest_of(quiet.stdout.strip().encode()) == ledger.keys.all()[0].digest
    assert quiet.stderr == ""
    told = run("create", "two", "--tokens-per-minute", "9", "--json")
    assert told.stderr == ""
    document = json.loads(told.stdout)
    key = next(key for key in ledger.keys.all() if key.name == "two")
    assert digest_of(document.pop("key").encode()) == key.digest
    assert document["limits"]["tokens_per_minute"] == 9
    assert json.loads(run("list", "--json").stdout)[1] == document


def test_the_list_shows_what_there_is(run, ledger):
    assert "0 valid keys, 0 revoked; the gateway asks for none" in run("list").stdout
    one, _ = ledger.keys.create("one", actor="me", at=1.0, tasks=["desk"], limits=Limits(None, 900, None, 12.0))
    two, _ = ledger.keys.create("two", actor="me", at=2.0)
    ledger.keys.revoke(two.id, actor="me", at=3.0)
    output = run("list").stdout
    for shown in (
        one.id,
        two.id,
        "one",
        "two",
        "desk",
        "900 tokens/min, $12/month",
        "1970-01-01",
        "1 valid key, 1 revoked",
    ):
        assert shown in output
    assert one.digest.hex() not in output


def test_a_key_is_revoked_by_name_or_id(run, ledger):
    run("create", "app", "--quiet")
    (key,) = ledger.keys.all()
    assert run("revoke", "app", answer="n\n").exit_code == 1
    assert ledger.keys.all() == [key]
    output = run("revoke", "app", answer="y\n").output
    assert f"Revoke the key app ({key.id})?" in output
    assert "every request is refused until you create one" in output
    assert ledger.keys.all()[0].revoked_at is not None
    assert "was revoked already" in run("revoke", "app").output
    run("create", "app", "--quiet")
    run("create", "other", "--quiet")
    second = next(key for key in ledger.keys.all() if key.name == "app" and key.revoked_at is None)
    output = run("revoke", second.id, "--yes").output
    assert f"the key app ({second.id}) is revoked\n" in output
    assert [entry.action for entry in ledger.audit_trail()].count("revoke_key") == 2


def test_what_is_unknown_names_the_nearest(run, ledger):
    assert isinstance(run("revoke", "app", "--yes").exception, DataError)
    run("create", "billing", "--quiet")
    unknown = run("revoke", "biling", "--yes").exception
    assert isinstance(unknown, DataError)
    assert "did you mean 'billing'?" in unknown.message
    far = run("revoke", "qqqq", "--yes").exception
    assert isinstance(far, DataError)
    assert "`tutelage keys list` shows all" in far.message
    task = run("create", "app", "--task", "dest").exception
    assert isinstance(task, SettingsError)
    assert "did you mean 'desk'?" in task.message
    assert isinstance(run("create", "billing").exception, DataError)
    assert [key.name for key in ledger.keys.all()] == ["billing"]


@pytest.mark.parametrize(
    "option", [("--requests-per-minute", "0"), ("--dollars-per-day", "-1"), ("--tokens-per-minute", "x")]
)
def test_limits_that_make_no_sense_are_refused(run, ledger, option):
    assert run("create", "app", *option).exit_code == 2
    assert ledger.keys.all() == []
