"""The documents say what is so."""

import re
from pathlib import Path

import pytest
import typer.main

from core.records import Reason
from core.settings import load_settings
from tutelage.cli import build_app
from tutelage.config import example_config
from tutelage.reference import render

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]


def test_the_configuration_reference_is_in_step():
    written = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert written == render() + "\n", "run `python -m tutelage.reference > docs/configuration.md`"


def test_every_setting_is_described():
    rows = [line for line in render().splitlines() if line.startswith("| `")]
    assert len(rows) > 50
    assert not [row for row in rows if row.endswith("|  |")]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_and_picture_exists(document):
    targets = re.findall(r"\]\(([^)#]+)", document.read_text(encoding="utf-8"))
    missing = [target for target in targets if "://" not in target and not (document.parent / target).exists()]
    assert not missing


def test_every_command_of_the_readme_exists():
    known = set(typer.main.get_command(build_app()).commands)
    named = set(re.findall(r"tutelage (\w+)", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert named <= known | {"init"}
    assert named & known


def test_every_command_has_an_example():
    for name, command in typer.main.get_command(build_app()).commands.items():
        assert "Example" in (command.help or ""), name


def test_every_reason_is_explained():
    text = (ROOT / "docs" / "gateway.md").read_text(encoding="utf-8")
    assert [reason for reason in Reason if f"| `{reason.value}` |" not in text] == []


def test_the_example_loads_and_its_files_are_there():
    task = load_settings(example_config()).task("support-desk")
    assert len(task.labels) >= 30
    for file in (*task.data.prompts, *task.data.evaluation):
        assert file.is_file()
