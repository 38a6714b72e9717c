"""An edited prompt over the running gateway: seen, told, accepted, read by the student; what privacy leaves of it."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from dataclasses import replace

import httpx
import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner

from core.ledger import AcceptedTemplate
from core.settings import LedgerSettings
from core.templates import compile_template
from router.app import Gateway
from server.pointer import Pointers
from tests.router.conftest import run_gateway
from tests.support.processes import asgi_server, free_port
from tests.support.student_server import run_server
from tests.support.students import LABELS, write_student
from tutelage.cli import build_app
from tutelage.forgetting import Forgetter, Wanted

SYSTEM = "You sort the tickets of a bank."
TEXTS = ["where is it", "refund me", "thanks a lot", "my money", "tracking", "great work", "hello"]


def edited(text):
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": f"Ticket: {text}\nLabel:"}]


def ask(gateway, text, messages=None, **more):
    body = {"model": "desk", "messages": messages or edited(text), **more}
    answer = httpx.post(f"{gateway.url}/v1/chat/completions", json=body, timeout=20)
    assert answer.status_code == 200, answer.text
    return answer


def command(gateway, *arguments):
    config = gateway.settings.state.parent / "tutelage.yaml"
    result = CliRunner().invoke(build_app(), ["templates", *arguments, "--config", str(config)], env={"COLUMNS": "300"})
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


def unknown(gateway):
    return gateway.ledger.unknown_templates.all()


@pytest.fixture
def start(tmp_path, student_url):
    """Start a gateway; with a section `privacy` for its task."""
    with ExitStack() as stack:

        def call(**privacy):
            return run_gateway(stack, tmp_path, student_url, task={"privacy": privacy} if privacy else {})

        yield call


def test_an_edited_prompt_is_told_accepted_and_read_by_the_student(tmp_path):
    port = free_port()
    with ExitStack() as stack:
        student = {"url": f"http://127.0.0.1:{port}", "poll_seconds": 0.1}
        gateway = run_gateway(stack, tmp_path, "", student=student)
        write_student(gateway.settings.students_folder / "desk" / "1")
        Pointers(gateway.settings.students_folder).write("desk", "champion", "1")
        stack.enter_context(run_server("--config", str(tmp_path / "tutelage.yaml"), port=port))
        gateway.trust(*LABELS, version="1")
        gateway.wait(lambda: gateway.ask("where is it").headers["x-tutelage-reason"] == "champion")
        with capture_logs() as logs:
            for text in TEXTS:
                assert ask(gateway, text).headers["x-tutelage-reason"] == "template_mismatch"
            gateway.wait(lambda: [one.requests for one in unknown(gateway) if one.template] == [len(TEXTS)])
        assert len([line for line in logs if line["event"] == "new_template_seen"]) == 1
        assert gateway.metric("tutelage_gateway_unknown_templates_total") == 1
        (seen,) = unknown(gateway)
        assert [(p.role, p.content) for p in seen.template.patterns] == [
            ("system", SYSTEM),
            ("user", "Ticket: {text}\nLabel:"),
        ]
        assert len(TEXTS) <= seen.among
        assert seen.exchange in {record.id for record in gateway.records()}
        shown = command(gateway, "--task", "desk")
        assert f"unknown {seen.id}: {len(TEXTS)} requests" in shown
        assert "user: Ticket: {text}\\nLabel:" in shown

        assert "accepted@" in command(gateway, "accept", seen.id, "--yes")
        gateway.wait(lambda: ask(gateway, "where is it").headers["x-tutelage-reason"] == "champion")
        newest = gateway.records()[-1]
        assert (newest.text, newest.label) == ("where is it", "order_status")
        assert newest.template.startswith("accepted@")
        assert unknown(gateway) == []

        command(gateway, "drop", newest.template, "--yes")
        gateway.wait(lambda: ask(gateway, "where is it").headers["x-tutelage-reason"] == "template_mismatch")


def test_accepted_templates_outlive_a_restart_without_the_ledger(start, tmp_path):
    template = compile_template("v2", [("system", SYSTEM), ("user", "Ticket: {text}\nLabel:")])
    gateway = start()
    gateway.ledger.templates.accept(AcceptedTemplate("desk", template, "me", time.time()))
    gateway.wait(gateway.settings.templates_file.is_file)
    away = LedgerSettings(url=f"sqlite:///{tmp_path}")  # a folder is no database
    with asgi_server(Gateway(gateway.settings.model_copy(update={"ledger": away}))) as url:
        ask(replace(gateway, url=url), "where is it")
    assert gateway.records()[-1].template == template.version


def test_a_rejected_template_is_counted_and_not_told_again(start):
    gateway = start()
    for text in TEXTS:
        ask(gateway, text)
    gateway.wait(lambda: [one.requests for one in unknown(gateway) if one.template] == [len(TEXTS)])
    (seen,) = unknown(gateway)
    command(gateway, "reject", seen.id)
    assert "0 unknown template(s)" in command(gateway)
    ask(gateway, "one more")
    gateway.wait(lambda: unknown(gateway)[0].requests == len(TEXTS) + 1)
    assert unknown(gateway)[0].rejected
    assert gateway.metric("tutelage_gateway_unknown_templates_total") == 1
    assert f"{seen.id}: rejected" in command(gateway, "--all")


@pytest.mark.parametrize("store", ["hashed", "none"])
def test_where_no_text_may_be_kept_none_is(start, store):
    gateway = start(store=store)
    for text in TEXTS:
        ask(gateway, text, user="zebulon")
    gateway.wait(lambda: sum(one.requests for one in unknown(gateway)) == len(TEXTS))
    (seen,) = unknown(gateway)
    assert (seen.roles, seen.template, seen.example, seen.exchange) == (("system", "user"), None, (), "")
    stored = b"".join(path.read_bytes() for path in gateway.settings.state.glob("ledger.db*"))
    assert not any(secret in stored for secret in (b"tickets of a bank", b"Ticket:", b"refund me", b"zebulon"))
    shown = command(gateway)
    assert f"privacy.store of desk is {store}" in shown
    config = gateway.settings.state.parent / "tutelage.yaml"
    refused = CliRunner().invoke(build_app(), ["templates", "accept", seen.id, "--yes", "--config", str(config)])
    assert "write it yourself with --message" in str(refused.exception)
    written = ("--message", f"system={SYSTEM}", "--message", "user=Ticket: {text}\nLabel:")
    assert "no stored example" in command(gateway, "accept", seen.id, "--yes", *written)
    gateway.wait(lambda: ask(gateway, "x").headers["x-tutelage-reason"] != "template_mismatch")


def test_what_is_redacted_is_redacted_here_too(start):
    gateway = start(redact=[{"name": "email"}])
    prompt = "Ticket for help@bank.example: "
    for text in TEXTS:
        content = f"{prompt}{text}, says ann@mail.example"
        ask(gateway, "", messages=[{"role": "system", "content": SYSTEM}, {"role": "user", "content": content}])
    gateway.wait(lambda: [one.requests for one in unknown(gateway) if one.template] == [len(TEXTS)])
    stored = b"".join(path.read_bytes() for path in gateway.settings.state.glob("ledger.db*"))
    assert b"bank.example" not in stored
    assert b"mail.example" not in stored
    assert b"[email]" in stored
    (seen,) = [one for one in unknown(gateway) if one.withheld]
    assert "has replaced some of the prompt's own text" in command(gateway)
    written = ("--message", f"system={SYSTEM}", "--message", f"user={prompt}{{text}}")
    assert "may be redacted" in command(gateway, "accept", seen.id, "--yes", *written)


def test_deletion_reaches_the_examples(start):
    gateway = start()
    for text in TEXTS:
        ask(gateway, text, user="ann")
    gateway.wait(lambda: [one.requests for one in unknown(gateway) if one.template] == [len(TEXTS)])
    forgetter = Forgetter(gateway.settings, gateway.ledger)
    wanted = Wanted(user="ann")
    forgetter.forget(wanted, forgetter.find(wanted), "me")
    gateway.wait(lambda: not gateway.gateway.targets.tasks["desk"].unmatched.families[0].shapes)
    ask(gateway, "by somebody else")
    gateway.wait(lambda: sum(one.requests for one in unknown(gateway)) == len(TEXTS) + 1)
    assert all(one.user == "" and "ann" not in json.dumps(one.example) for one in unknown(gateway))
    assert all(one.template is None for one in unknown(gateway))


def test_requests_that_hold_more_than_text_are_no_new_template(start):
    gateway = start()
    picture = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x.example/a.png"}}]}]
    assert ask(gateway, "", messages=picture).headers["x-tutelage-reason"] == "template_mismatch"
    ask(gateway, "one")
    gateway.wait(lambda: bool(unknown(gateway)))
    assert sum(one.requests for one in unknown(gateway)) == 1
