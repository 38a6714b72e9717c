"""`tutelage review`, as a person and as a script see it; verdicts reach the journal on a real Redis."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from core.archive import Archive, Row
from core.errors import DataError, SettingsError
from core.ids import mint
from core.journal import Journal, stream_name
from core.labels import LabelSet, pack_floats
from core.ledger import Ledger, Move, Review, ReviewState, Right, Why
from core.records import Answerer as By
from core.records import Comparison, Feedback, Kind, Outcome, StudentAnswer, decode
from tests.support.processes import write_settings
from tutelage.cli import build_app
from tutelage.commands._review_answers import Answer, read_answer

LABELS = ["refund", "order", "spam"]
NOON = 1_750_000_000.0


@pytest.fixture
def config(tmp_path, redis_url):
    task = {"labels": LABELS, "teacher": {"base_url": "http://127.0.0.1:1/v1", "model": "t"}}
    mail = task | {"privacy": {"redact": [{"name": "email"}]}}
    hashed = task | {"privacy": {"store": "hashed"}}
    document = {
        "state": str(tmp_path / "state"),
        "redis": {"url": redis_url},
        "tasks": {"desk": task, "mail": mail, "hashed": hashed},
    }
    return write_settings(tmp_path / "tutelage.yaml", document)


@pytest.fixture
def run(config):
    def call(*arguments: str, answers: str | None = None):
        command = ["review", *arguments, "--config", str(config)]
        return CliRunner().invoke(build_app(), command, input=answers, env={"COLUMNS": "250"})

    return call


def entry(**values: Any) -> Review:
    given: dict[str, Any] = {
        "id": mint("rv"),
        "task": "desk",
        "exchange": mint(),
        "why": Why.DISAGREEMENT,
        "version": "3",
        "student": "refund",
        "teacher": "order",
        "confidence": 0.97,
        "teacher_confidence": 0.88,
        "probability": 0.0,
        "drawn_from": 0.0,
        "cluster": "",
        "text": "where [bold]is\x1b[31m my money",
        "created": NOON,
    }
    return Review(**given | values)


@pytest.fixture
def queue(ledger: Ledger):
    def add(*values: dict[str, Any]) -> list[Review]:
        entries = [entry(**one) for one in values or ({},)]
        assert ledger.reviews.add(entries) == len(entries)
        return entries

    return add


def journalled(redis_url: str, task: str = "desk") -> list[Feedback]:
    async def read() -> list[Feedback]:
        journal = Journal.connect(redis_url)
        try:
            entries = await journal.read(stream_name(task, Kind.FEEDBACK), count=100)
            records = [decode(payload) for entry in entries for _, payload in entry.frames()]
            return [record for record in records if isinstance(record, Feedback)]
        finally:
            await journal.close()

    return asyncio.run(read())


def failure(result):
    assert result.exit_code != 0
    return result.exception


def test_what_waits_is_shown_the_surest_first(run, queue):
    first, second = queue({"confidence": 0.91, "teacher_confidence": None}, {"text": ""})
    output = run("--list").output
    assert output.index(second.id) < output.index(first.id)
    assert "where [bold]is\\x1b[31m my money" in output
    assert "\x1b[31m" not in output
    assert "(its text is not kept)" in output
    assert "2 shown" in output
    documents = json.loads(run("--json").output)
    assert [one["id"] for one in documents] == [second.id, first.id]
    assert documents[1]["state"] == "new"
    assert documents[1]["text"] == first.text
    assert json.loads(run("--json", "--limit", "1").output)[0]["id"] == second.id
    assert json.loads(run("--json", "--task", "mail").output) == []
    assert "0 shown" in run("--list", "--task", "mail").output


def test_a_person_judges_one_after_the_other(run, queue, ledger, redis_url):
    entries = queue(*({"confidence": 0.99 - i / 100} for i in range(6)))
    answers = "student\nt\n1\nboth\n\nspma\nn\nsays so\nspam\n"
    result = run(answers=answers)
    assert result.exit_code == 0, result.output
    assert "1 of 6" in result.output
    assert "version 3 was sure, and the teacher disagrees" in result.output
    assert "where [bold]is\\x1b[31m my money" in result.output
    assert "[s]tudent: refund  (99.0 % sure)" in result.output
    assert "did you mean 'spam'?" in result.output
    assert "5 judged, 1 skipped, 0 left" in result.output
    found = [ledger.reviews.get(one.id) for one in entries]
    assert [one.right for one in found] == [
        Right.STUDENT,
        Right.TEACHER,
        Right.STUDENT,
        Right.BOTH,
        None,
        Right.NEITHER,
    ]
    assert found[4].state is ReviewState.SKIPPED
    records = journalled(redis_url)
    assert [record.label for record in records] == ["refund", "order", "refund", "refund", "spam"]
    assert [record.exchange for record in records] == [one.exchange for one in entries if one is not entries[4]]
    assert {record.source for record in records} == {"review"}
    assert records[-1].comment == "says so"
    trail = [one.action for one in ledger.audit_trail("desk")]
    assert sorted(trail) == ["judge_review"] * 5 + ["skip_review"]
    assert all(one.actor.startswith("cli:") for one in ledger.audit_trail("desk"))
    assert "nothing waits" in run().output
    assert "1 of 1" in run("--all", answers="q\n").output


@pytest.mark.parametrize("answers", ["t\nquit\n", "t\n"])
def test_one_may_stop_whenever_one_likes(run, queue, ledger, redis_url, answers):
    queue({}, {}, {})
    result = run(answers=answers)
    assert result.exit_code == 0, result.output
    assert "1 judged, 0 skipped, 2 left" in result.output
    assert len(ledger.reviews.find("desk")) == 2
    assert len(journalled(redis_url)) == 1


def test_a_script_judges_and_skips(run, queue, ledger, redis_url):
    one, other, third = queue({}, {"task": "mail"}, {"task": "hashed", "text": ""})
    result = run("--id", one.id, "--verdict", "teacher", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["right"] == "teacher"
    assert isinstance(failure(run("--id", one.id, "--verdict", "refund")), DataError)
    assert "is judged: spam" in run("--id", other.id, "--verdict", "Spam", "--note", "jo@example.com says so").output
    assert "is judged" in run("--id", third.id, "--verdict", "3", "--note", "a secret").output
    assert journalled(redis_url, "mail")[0].comment == "[email] says so"
    (unsaid,) = journalled(redis_url, "hashed")
    assert (unsaid.label, unsaid.comment) == ("spam", "")
    assert ledger.reviews.get(third.id).note == ""
    (skipped,) = queue()
    assert "is skipped" in run("--id", skipped.id, "--skip").output
    assert "already" in run("--id", skipped.id, "--skip").output
    shown = {one["id"]: one["state"] for one in json.loads(run("--all", "--json").output)}
    assert shown == {one.id: "judged", other.id: "judged", third.id: "judged", skipped.id: "skipped"}


@pytest.mark.parametrize(
    ("arguments", "kind", "why"),
    [
        (("--id", "rv_none", "--verdict", "refund"), DataError, "there is no entry"),
        (("--verdict", "refund"), SettingsError, "--id ID"),
        (
            (
                "--id",
                "{id}",
            ),
            SettingsError,
            "--verdict LABEL",
        ),
        (("--id", "{id}", "--verdict", "refund", "--skip"), SettingsError, "--skip"),
        (("--id", "{id}", "--verdict", "refnd"), DataError, "did you mean 'refund'?"),
        (("--id", "{id}", "--verdict", "quit"), DataError, "is no verdict"),
        (("--task", "dest"), SettingsError, "dest"),
        (("--red-team",), SettingsError, "name one with --task"),
        (("--red-team", "--task", "desk"), DataError, "--from"),
    ],
)
def test_what_cannot_be_meant_is_refused(run, queue, arguments, kind, why):
    (one,) = queue()
    error = failure(run(*(argument.format(id=one.id) for argument in arguments)))
    assert isinstance(error, kind)
    assert why in error.message


def test_redis_being_away_costs_no_verdict(run, queue, config, ledger, free_port):
    document = yaml.safe_load(config.read_text())
    document["redis"] = {"url": f"redis://127.0.0.1:{free_port}/0"}
    config.write_text(yaml.safe_dump(document))
    (one,) = queue()
    result = run("--id", one.id, "--verdict", "student")
    assert result.exit_code == 0, result.output
    assert "the monitor carries the verdicts" in result.output
    assert [record.label for _, record in ledger.reviews.outbox(0)] == ["refund"]


def test_a_red_team_checks_what_nobody_disputes(run, ledger, tmp_path, redis_url):
    archive = Archive(str(tmp_path / "state" / "archive"), ledger)
    records = [
        Comparison(
            mint("cmp"),
            "desk",
            mint(),
            4e9,
            4e9,
            Outcome.ANSWERED,
            0.1,
            By.STUDENT,
            StudentAnswer("3", "order", 0.99, "set"),
            "order",
            pack_floats([0.01, 0.98, 0.01]),
            cluster=f"k{i}",
            text=f"order {i}",
        )
        for i in range(5)
    ]
    stream = stream_name("desk", Kind.COMPARISON)
    rows = [Row("log_a", i + 1, one) for i, one in enumerate(records)]
    assert archive.append(stream, rows, [Move(stream, "log_a", 0, 5)], 100)
    listed = json.loads(run("--red-team", "--task", "desk", "--per-class", "3", "--json").output)
    assert [(one["why"], one["teacher"], one["probability"]) for one in listed] == [("red_team", "order", 0.6)] * 3
    again = json.loads(run("--red-team", "--task", "desk", "--per-class", "5", "--json").output)
    assert again == listed
    assert "nothing waits" in run("--task", "desk").output
    result = run("--red-team", "--task", "desk", answers="both\nt\nspam\n\n")
    assert "drawn at random from the teacher's surest answers" in result.output
    assert "[t]eacher and student: order  (98.0 % sure)" in result.output
    assert "there is only one label here" in result.output
    assert "2 judged, 1 skipped, 0 left" in result.output
    assert "of the teacher's answers in desk by confidence: from 0.9 on 50.0 % wrong, between" in result.output
    assert sorted(record.label for record in journalled(redis_url)) == ["order", "spam"]


def test_a_label_may_be_called_as_a_word_is():
    labels = LabelSet(["b", "skip", "1", "both ways"])
    one = entry(student="b", teacher="1")
    assert read_answer("b", one, labels) == Answer("label", "b")
    assert read_answer("both", one, labels) == Answer("both", "b")
    assert read_answer("1", one, labels) == Answer("label", "1")
    assert read_answer("4", one, labels) == Answer("label", "both ways")
    assert read_answer("5", one, labels).kind == "unclear"
    assert read_answer("skip", one, labels) == Answer("label", "skip")
    assert read_answer("  ", one, labels) == Answer("skip")
    assert read_answer("L", one, labels) == Answer("labels")
    gone = entry(student="gone", teacher="lost")
    assert [read_answer(word, gone, labels).kind for word in ("s", "t", "both")] == ["unclear"] * 3
    alone = entry(student="")
    assert [read_answer(word, alone, labels).kind for word in ("s", "both")] == ["unclear"] * 2
