"""`tutelage economics`, as a person sees it, and as its document says."""

from __future__ import annotations

import json
import re
import shlex
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from core.archive import Archive
from core.errors import SettingsError
from monitoring.power import DAYS_A_MONTH
from tests.support import accounted_traffic as traffic
from tests.support.processes import write_settings
from training.advice import RULES
from tutelage.cli import build_app

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "economics.md"
HOSTED = "--queries 1000000 --input-tokens 500 --output-tokens 200 --teacher gpt-4o --student gpt-4o-mini"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def desk(tmp_path, ledger):
    """A task with ten days of traffic; its settings file."""
    teacher = {"base_url": "https://api.openai.com/v1", "model": "gpt-4o", "data_may_leave": True}
    document = {"state": str(tmp_path / "state"), "tasks": {"desk": {"labels": ["a", "b"], "teacher": teacher}}}
    traffic.archive_traffic(Archive(str(tmp_path / "state" / "archive"), ledger), "desk", time.time() - 60)
    (tmp_path / "state" / "labels").mkdir()
    (tmp_path / "state" / "labels" / "desk.jsonl").write_text('{"text": "x", "label": "a"}\n' * 400)
    return write_settings(tmp_path / "desk.yaml", document)


def run(*arguments: str):
    return CliRunner().invoke(build_app(), ["economics", *arguments], env={"COLUMNS": "200"})


def test_the_example_of_the_document():
    """The command that docs/economics.md shows prints the lines that it shows, in their order."""
    text = DOCUMENT.read_text(encoding="utf-8")
    (command,) = re.findall(r"```sh\n(tutelage economics .*)\n```", text)
    (shown,) = re.findall(r"```text\n(.*?)\n```", text, re.DOTALL)
    result = run(*shlex.split(command)[2:])
    assert result.exit_code == 0, result.output
    printed = iter([line.rstrip() for line in result.output.splitlines()])
    for line in shown.splitlines():
        assert line.rstrip() in printed, line
    assert "by list price the saving is $3,055 a month" in " ".join(text.split()).lower()


def test_the_document_has_the_table_of_rules():
    table = DOCUMENT.read_text(encoding="utf-8").partition("| rule | advice |")[2]
    written = re.findall(r"^\| (.+) \| (.+) \|$", table, re.MULTILINE)
    assert written == [("---", "---"), *((rule.name, rule.advice.value) for rule in RULES)]


def test_as_json():
    document = json.loads(run(*HOSTED.split(), "--json").output)
    assert document["teacher"]["usd_per_million_tokens"] == {"input": 2.5, "output": 10.0}
    assert document["teacher"]["usd_per_month"] == pytest.approx(3250)
    assert document["student"]["usd_per_million_tokens"] == {"input": pytest.approx(0.15), "output": pytest.approx(0.6)}
    assert document["student"]["usd_per_month"] == pytest.approx(195)
    assert round(document["times_cheaper"], 1) == 16.7
    assert document["inputs"]["fallback"] == {"value": 0.2, "source": "assumed"}
    assert not any("are few" in told for told in document["cautions"])


def test_it_warns_where_queries_are_few():
    result = run(*HOSTED.replace("1000000", "99999").split())
    assert result.exit_code == 0, result.output
    assert "99,999 queries a month are few: below about 100,000 distilling rarely pays" in result.output


def test_never_is_null(tmp_path):
    few = ["--queries", "1000", "--input-tokens", "500", "--output-tokens", "200", "--teacher", "gpt-4o"]
    document = json.loads(run(*few, "--json").output)
    assert document["break_even"]["full"]["months"] is None
    assert document["times_cheaper"] is None
    assert document["least_queries_a_month"]["to_save"] > 1000
    result = run(*few)
    assert "it never breaks even" in result.output


def test_it_draws(tmp_path):
    result = run(*HOSTED.split(), "--plot", "books.svg")
    assert "drawn into books.svg" in result.output
    assert (tmp_path / "books.svg").read_text().startswith("<svg")
    assert isinstance(run(*HOSTED.split(), "--plot", "books.png").exception, SettingsError)
    assert isinstance(run(*HOSTED.split(), "--plot", "no/where.svg").exception, SettingsError)


def test_without_settings_it_names_what_it_needs():
    error = run("--queries", "1000", "--teacher", "gpt-4o").exception
    assert isinstance(error, SettingsError)
    assert "--input-tokens, --output-tokens" in error.message


def test_a_task_is_read_from_what_was_accounted(desk):
    result = run("--config", str(desk), "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.output)
    found = {name: known["value"] for name, known in document["inputs"].items()}
    assert found["queries"] == pytest.approx(100 * DAYS_A_MONTH)
    assert (found["input_tokens"], found["output_tokens"], found["labels"]) == (500, 200, 400)
    assert (found["fallback"], found["shadow"], found["repeat"]) == pytest.approx((0.25, 0.25, 0.1))
    assert document["teacher"]["usd_per_query"]["value"] == pytest.approx(traffic.CALL_USD)
    assert document["inputs"]["fallback"]["source"] == "accounted, 1,000 exchanges in 10.0 days"
    assert document["distillation_usd"] == pytest.approx(400 * traffic.CALL_USD)


def test_what_is_given_wins_over_what_was_accounted(desk):
    document = json.loads(
        run("--config", str(desk), "--task", "desk", "--queries", "5e6", "--fallback", "0", "--json").output
    )
    assert document["inputs"]["queries"] == {"value": 5e6, "source": "--queries"}
    assert document["inputs"]["fallback"] == {"value": 0, "source": "--fallback"}
    assert document["inputs"]["shadow"]["value"] == 0.25


def test_settings_of_the_folder_are_meant_unless_all_is_said(desk, tmp_path):
    desk.rename(tmp_path / "tutelage.yaml")
    assert json.loads(run("--json").output)["inputs"]["labels"]["value"] == 400
    assert json.loads(run(*HOSTED.split(), "--json").output)["inputs"]["labels"]["source"] == "assumed"
