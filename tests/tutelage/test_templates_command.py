"""`tutelage templates`, as a person and as a script see it."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from core.archive import Archive, Row
from core.errors import DataError, SettingsError
from core.ids import mint
from core.ledger import Move, UnknownTemplate
from core.records import Answerer, Exchange, Reason
from core.settings import load_settings
from core.templates import compile_template
from tutelage.cli import build_app
from tutelage.forgetting import Forgetter, Wanted

SORT = compile_template("suggested", [("system", "Sort [bold]\x1b[31m."), ("user", "Ticket: {text}")])


@pytest.fixture
def run(config):
    def call(*arguments: str, answer: str | None = None):
        command = ["templates", *arguments, "--config", str(config)]
        return CliRunner().invoke(build_app(), command, input=answer, env={"COLUMNS": "250"})

    return call


@pytest.fixture
def seen(ledger):
    def note(identifier="ab12", task="desk", template=SORT, example="Ticket: it", **more):
        messages = (("system", "Sort [bold]\x1b[31m."), ("user", example)) if example else ()
        one = UnknownTemplate(task, identifier, ("system", "user"), 30, 1.0, 2.0, template, example=messages, **more)
        ledger.unknown_templates.note([one], {task: 120})
        return one

    return note


def failure(result):
    assert result.exit_code != 0
    return result.exception


def test_known_and_unknown_ones_are_shown_with_what_they_cost(run, ledger, seen, tmp_path):
    seen()
    exchange = Exchange("ex_1", "desk", 5.0, Answerer.TEACHER, Reason.TEMPLATE_MISMATCH, 200, cost_usd=0.02)
    archive = Archive(str(tmp_path / "state" / "archive"), ledger)
    stream = "tutelage:desk:exchanges"
    assert "so far" not in run().output
    assert archive.append(stream, [Row("log_a", 5, exchange)], [Move(stream, "log_a", 0, 5)], 10)
    output = run().output
    assert "default@" in output
    assert "unknown ab12: 30 requests" in output
    assert "about $0.60 so far" in output
    assert "25.0% of the task's traffic since then" in output
    assert "user: Ticket: {text}" in output
    assert "user: Ticket: it" in output
    assert "Sort [bold]\\x1b[31m." in output
    assert "\x1b" not in output
    assert "1 unknown template(s)" in output
    document = json.loads(run("--json").output)
    (one,) = document["desk"]["unknown"]
    assert (one["id"], one["requests"], one["share"], one["cost_usd"]) == ("ab12", 30, 0.25, pytest.approx(0.6))
    assert one["suggestion"][1] == {"role": "user", "content": "Ticket: {text}"}
    assert document["mail"] == {"known": document["desk"]["known"], "unknown": []}
    assert json.loads(run("list", "--task", "mail", "--json").output).keys() == {"mail"}
    assert isinstance(failure(run("--task", "dest")), SettingsError)


def test_a_suggestion_is_accepted_once_a_person_says_yes(run, ledger, seen):
    seen()
    seen("cd34", template=None, example="Ticket: another")
    seen("ef56", template=None, example="something else")
    assert run("accept", "ab12", answer="n\n").exit_code == 1
    assert ledger.templates.all() == []
    result = run("accept", "ab12", "--name", "v2", answer="y\n")
    assert result.exit_code == 0, result.output
    assert "read requests that look like this?" in result.output
    (accepted,) = ledger.templates.all()
    assert (accepted.task, accepted.source, accepted.template.name) == ("desk", "ab12", "v2")
    assert accepted.template.patterns == SORT.patterns
    assert accepted.actor.startswith("cli:")
    # Whatever else it reads is no longer unknown either.
    assert [one.id for one in ledger.unknown_templates.all()] == ["ef56"]
    assert accepted.template.version in run().output
    assert ledger.audit_trail("desk")[0].action == "accept_template"
    version = accepted.template.version
    assert run("drop", version, answer="n\n").exit_code == 1
    assert "is dropped" in run("drop", version, "--yes").output
    assert "was dropped already" in run("drop", version, "--yes").output
    assert version not in run().output
    assert version in run("--all").output


def test_a_person_may_write_it_better(run, ledger, seen):
    seen()
    written = ("--message", "system=Sort [bold]\x1b[31m.", "--message", "user=Ticket: {subject}t")
    result = run("accept", "ab12", "--yes", *written)
    assert result.exit_code == 0, result.exception
    (accepted,) = ledger.templates.all("desk")
    assert accepted.template.holes == ("subject",)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--message", "user=Ticket: {text}"), "does not fit the example of ab12"),
        (("--message", "Ticket: {text}"), "takes ROLE=CONTENT"),
        (("--message", "user=Ticket"), "has no hole"),
        (("--name", "a@b"), "no name for a template"),
        (("--task", "mail"), "no unknown template 'ab12'"),
    ],
)
def test_what_could_not_work_is_refused(run, ledger, seen, arguments, why):
    seen()
    error = failure(run("accept", "ab12", "--yes", *arguments))
    assert isinstance(error, DataError)
    assert why in error.message
    assert ledger.templates.all() == []


def test_what_cannot_be_accepted_says_why(run, ledger, seen):
    seen("few", template=None)
    seen("kept", template=None, example="", withheld="hashed")
    seen("red", withheld="redacted")
    known = compile_template("x", [("user", "{text}")])
    seen("bare", template=known, example="")
    for identifier, why in (
        ("few", "too few different requests were seen"),
        ("kept", "privacy.store of desk is hashed"),
        ("red", "privacy.redact of desk"),
        ("bare", "this is what default@"),
        ("none", "there is no unknown template"),
    ):
        error = failure(run("accept", identifier, "--yes"))
        assert isinstance(error, DataError)
        assert why in error.message
    output = run().output
    assert "no suggestion: too few different requests" in output
    assert "no suggestion: privacy.store of desk is hashed" in output
    assert ledger.templates.all() == []


def test_an_id_that_two_tasks_have_needs_the_task(run, ledger, seen):
    seen()
    seen(task="mail")
    error = failure(run("reject", "ab12"))
    assert isinstance(error, DataError)
    assert "name one with --task" in error.message
    assert "ab12 of mail is rejected" in run("reject", "ab12", "--task", "mail").output
    assert "was rejected already" in run("reject", "ab12", "--task", "mail").output
    assert [one.task for one in ledger.unknown_templates.all(rejected=False)] == ["desk"]


def test_what_stands_in_the_settings_cannot_be_dropped_here(run, ledger):
    version = compile_template("default", [("user", "{text}")]).version
    error = failure(run("drop", version, "--yes"))
    assert isinstance(error, DataError)
    assert "tasks.desk.templates" in error.message
    assert "no template 'x@1' was accepted" in failure(run("drop", "x@1", "--yes")).message


def test_forgetting_reaches_the_example_and_what_was_made_of_it(ledger, seen, config):
    exchange, other = mint(), mint()
    seen(exchange=exchange, user="ann")
    seen("cd34", exchange=other, user="bob")
    forgetter = Forgetter(load_settings(config), ledger)
    wanted = Wanted(exchange=exchange)
    done = forgetter.forget(wanted, forgetter.find(wanted), "me")
    assert done.removed["examples of templates"] == 1
    wanted = Wanted(user="bob", task="mail")
    assert forgetter.forget(wanted, forgetter.find(wanted), "me").removed["examples of templates"] == 0
    left = {one.id: (one.template, one.exchange) for one in ledger.unknown_templates.all()}
    assert left == {"ab12": (None, ""), "cd34": (SORT, other)}
    wanted = Wanted(user="bob")
    assert forgetter.forget(wanted, forgetter.find(wanted), "me").removed["examples of templates"] == 1
