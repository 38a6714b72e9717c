"""`tutelage power`, as a person sees it."""

from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from core.errors import SettingsError
from tests.support.monitoring_world import task_settings
from tests.support.processes import write_settings
from tutelage.commands.power import power


def run(*arguments: str):
    app = typer.Typer()
    app.command()(power)
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})


def test_it_needs_no_settings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("--queries", "100000", "--classes", "77")
    assert result.exit_code == 0, result.output
    assert "an average one has 65 a month" in result.output
    assert "not within a year" in result.output
    assert "give --call-usd" in result.output


def test_it_speaks_json_and_what_is_never_seen_is_null(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("--queries", "20000", "--classes", "10", "--shadow", "0.1", "--call-usd", "0.002", "--json")
    document = json.loads(result.output)
    assert document["volume"]["queries_per_month"] == 20000
    assert document["offers"][-1]["usd_per_month"] == pytest.approx(40.0)
    assert any(sight["days"] is None for sight in document["classes"])


def test_a_task_of_the_settings(tmp_path):
    config = write_settings(
        tmp_path / "tutelage.yaml",
        {"state": str(tmp_path / "state"), "tasks": {"desk": task_settings().model_dump(mode="json")}},
    )
    result = run("--config", str(config), "--queries", "50000", "--shadow", "0.2", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["volume"]["classes"] == len(task_settings().labels)


def test_nothing_compared_shows_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("--queries", "50000", "--classes", "3", "--shadow", "0")
    assert isinstance(result.exception, SettingsError)
