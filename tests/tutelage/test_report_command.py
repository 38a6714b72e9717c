"""`tutelage report`, as a person sees it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from core.archive import Archive
from core.errors import DataError, SettingsError
from tests.support.processes import write_settings
from tests.support.report_world import MIDNIGHT, SECRET, ReportWorld, priced_task
from tutelage.commands.report import report

WINDOW = ("--from", "2025-06-15", "--to", "2025-06-16")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    task = priced_task().model_dump(mode="json")
    return write_settings(tmp_path / "tutelage.yaml", {"state": str(tmp_path / "state"), "tasks": {"desk": task}})


@pytest.fixture
def there(config: Path, ledger, tmp_path: Path) -> ReportWorld:
    world = ReportWorld(ledger, Archive(str(tmp_path / "state" / "archive"), ledger))
    world.day(0, 300)
    world.day(1, 300)
    world.snapshot(MIDNIGHT)
    return world


def run(config: Path, *arguments: str):
    app = typer.Typer()
    app.command()(report)
    return CliRunner().invoke(app, [*arguments, "--config", str(config)], env={"COLUMNS": "250"})


def test_it_says_in_short_what_the_page_says(config: Path, there: ReportWorld):
    result = run(config, *WINDOW)
    assert result.exit_code == 0, result.output
    assert "No alarm tripped: version 1 of desk, 2025-06-15--2025-06-16" in result.output
    assert "Student agreement 9" in result.output
    page = Path(result.output.split("✓")[1].strip())
    assert page.name == "report.html"
    assert page.parent.name == "2025-06-15--2025-06-16"
    assert SECRET not in page.read_text()


def test_json_is_what_stands_beside_the_page(config: Path, there: ReportWorld):
    page = Path(run(config, *WINDOW, "--open-path").output.strip())
    assert page.read_text().startswith("<!doctype html>")
    result = run(config, *WINDOW, "--json", "--version", "1")
    told, written = json.loads(result.output), json.loads((page.parent / "report.json").read_text())
    assert told == written
    assert told["exchanges"] == 600
    assert told["agreement"]["lower"] < told["agreement"]["estimate"] < told["agreement"]["upper"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--to", "2025-06-15"), "give --from as well"),
        (("--from", "2025-06-15", "--days", "3"), "give one of them"),
        (("--json", "--open-path"), "give one of them"),
        (("--from", "2025-06-16", "--to", "2025-06-15"), "swap"),
    ],
)
def test_what_is_not_clear_is_asked_back(config: Path, there: ReportWorld, arguments, told):
    result = run(config, *arguments)
    assert isinstance(result.exception, SettingsError)
    assert told in result.exception.message


def test_a_window_without_exchanges(config: Path, there: ReportWorld):
    days = int((time.time() - MIDNIGHT) / 86_400)
    result = run(config, "--days", "1") if days > 3 else run(config, "--from", "2020-01-01", "--to", "2020-01-02")
    assert isinstance(result.exception, DataError)
    assert "no student of 'desk' read anything" in result.exception.message
    other = run(config, *WINDOW, "--version", "9")
    assert isinstance(other.exception, DataError)
    assert "there are 1" in other.exception.message
