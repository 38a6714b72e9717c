"""init, label, train and students, as a person calls them."""

from __future__ import annotations

import os

import pytest
import yaml
from typer.testing import CliRunner

from core.errors import DataError, PermissionDeniedError, SettingsError, TeacherError
from core.settings import load_settings
from tests.support.desk import INTENTS, messages
from tests.support.labelling_teacher import LabellingTeacher
from tests.support.processes import asgi_server
from tutelage.cli import build_app

ROWS = messages(240)


class _Knowing(LabellingTeacher):
    """Answers with the number of the intent that it was shown."""

    def _answer(self, request):
        status, headers, document = super()._answer(request)
        number = sorted(INTENTS).index(dict(ROWS)[request["messages"][-1]["content"]])
        document["choices"][0]["message"]["content"] = str(number)
        return status, headers, document


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    for name in list(os.environ):
        if name.startswith("TUTELAGE_"):
            monkeypatch.delenv(name)
    return tmp_path


@pytest.fixture
def app():
    return _Knowing()


@pytest.fixture
def address(app):
    with asgi_server(app) as url:
        yield url


def _run(*arguments, code=0, answer=None):
    result = CliRunner().invoke(build_app(), [str(argument) for argument in arguments], input=answer)
    if code is None:
        assert result.exception is not None
        raise result.exception
    assert result.exit_code == code, (result.output, result.exception)
    return result.output


def _write_csv(path, header="text,label", rows=ROWS):
    path.write_text(header + "\n" + "\n".join(",".join(row) for row in rows) + "\n", encoding="utf-8")
    return path


def _permit(path, **teacher):
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    for task in document["tasks"].values():
        task["teacher"] |= {"may_train": True, "data_may_leave": True} | teacher
        task["distil"] = {"epochs": 12}
    path.write_text(yaml.safe_dump(document), encoding="utf-8")


def test_from_a_file_to_a_student(here, app, address):
    _write_csv(here / "tickets.csv")
    output = _run("init", "tickets.csv", "--teacher-url", f"{address}/v1", "--teacher-model", "t")
    assert "tutelage.yaml holds the task tickets with 3 labels" in output
    assert "may_train" in output
    assert "the price of t is not known" in output
    with pytest.raises(PermissionDeniedError, match=r"tasks\.tickets\.teacher\.may_train"):
        _run("label", code=None)
    _permit(here / "tutelage.yaml", input_price=1.0, output_price=1.0)
    assert "0 students of 1 task" in _run("students")

    with pytest.raises(TeacherError, match="--budget"):
        _run("label", code=None, answer="n\n")
    assert not app.requests
    output = _run("label", "--budget", "5", "--yes")
    assert "240 labelled examples" in output
    assert len(app.requests) == 240
    assert "0 to ask t" in _run("label")

    output = _run("train")
    assert "version 1 is champion" in output
    assert "agreement" in output
    output = _run("train", "--seed", "3")
    assert "version 2 is candidate" in output
    output = _run("students", "--task", "tickets")
    assert "2 students of 1 task" in output
    assert "champion" in output
    assert "ngram" in output
    assert "3 of 3" in output


def test_init_guesses_and_converts_unusual_columns(here):
    _write_csv(here / "my data.csv", "message,category")
    output = _run("init", "my data.csv", "--task", "mine")
    assert "Copied to mine.data.jsonl" in output
    settings = load_settings(here / "tutelage.yaml")
    task = settings.task("mine")
    assert task.labels == sorted(INTENTS)
    assert task.data.labelled == task.data.prompts == [here / "mine.data.jsonl"]
    assert task.teacher.api_key_env == "OPENAI_API_KEY"
    assert not task.teacher.may_train
    assert not task.teacher.data_may_leave


def test_init_says_what_is_odd(here):
    rows = [("one", "Refund"), ("two", "refund"), ("three", "yes"), ("four", ""), ("five", "null: odd")]
    _write_csv(here / "odd.csv", rows=rows)
    output = _run("init", "odd.csv")
    assert "'Refund' and 'refund' look like one label" in output
    assert "4 thin labels" in output
    assert "1 rows have no label" in output
    assert load_settings(here / "tutelage.yaml").task("odd").labels == ["Refund", "null: odd", "refund", "yes"]


def test_init_without_labels_leaves_them_to_be_filled_in(here):
    _write_csv(here / "plain.csv", "text", [("hello there",), ("good bye",)])
    assert "write the labels under tasks.plain.labels" in _run("init", "plain.csv")
    with pytest.raises(SettingsError, match=r"tasks\.plain\.labels: .*at least 2"):
        load_settings(here / "tutelage.yaml")


def test_init_overwrites_nothing_and_names_what_it_cannot_find(here):
    _write_csv(here / "tickets.csv", "body,queue")
    with pytest.raises(DataError, match=r"--text-column \(body, queue\)"):
        _run("init", "tickets.csv", code=None)
    _run("init", "tickets.csv", "--text-column", "body", "--label-column", "queue")
    with pytest.raises(SettingsError, match="exists already"):
        _run("init", "tickets.csv", "--text-column", "body", code=None)


def test_errors_are_plain(here):
    _write_csv(here / "tickets.csv")
    _run("init", "tickets.csv")
    with pytest.raises(SettingsError, match="did you mean 'tickets'"):
        _run("train", "--task", "ticket", code=None)
    with pytest.raises(SettingsError, match="valid are ngram and encoder"):
        _run("train", "--architecture", "lstm", code=None)
    with pytest.raises(DataError, match="`tutelage label` writes it"):
        _run("train", code=None)
