"""`tutelage advise`, as a person sees it: with options, with a file, with traffic, and asked at a terminal."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from core.archive import Archive
from core.errors import SettingsError
from monitoring.rules import rules_of
from monitoring.snapshot import NAME, encode_state
from monitoring.state import TaskState
from tests.support import accounted_traffic as traffic
from tests.support.monitoring_world import World, task_settings, trust_rows
from tests.support.processes import ROOT, write_settings
from tutelage.cli import build_app

ANSWERS = """
kind: classification
classes: 77
queries: 1000000
input_tokens: 500
output_tokens: 200
teacher: gpt-4o
quality: 0.95
may_train: true
privacy: teacher
latency_ms: 0
drift: monthly
labelled: 500
tried: bad
"""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "answers.yaml").write_text(ANSWERS)


@pytest.fixture
def watched(tmp_path, ledger):
    """A task with traffic, and a monitor that has compared; its settings file."""
    settings = task_settings()
    teacher = {"base_url": "https://api.openai.com/v1", "model": "gpt-4o", "may_train": True, "data_may_leave": True}
    document = settings.model_dump(mode="json") | {"teacher": teacher}
    traffic.archive_traffic(Archive(str(tmp_path / "state" / "archive"), ledger), "desk", time.time() - 60)
    world, state, rules = World(), TaskState("desk"), rules_of(settings)
    ledger.set_trust("desk", "1", trust_rows())
    state.begin("1", rules, ledger.trust("desk", "1"))
    for _ in range(400):
        exchange, comparison = world.pair(drawn=True)
        state.observe_exchange(exchange, rules)
        assert comparison is not None
        state.observe(comparison, rules)
    assert ledger.snapshots.save("desk", NAME, after=0, position={}, state=encode_state(state), at=time.time())
    return write_settings(tmp_path / "desk.yaml", {"state": str(tmp_path / "state"), "tasks": {"desk": document}})


def run(*arguments: str):
    return CliRunner().invoke(build_app(), ["advise", *arguments], env={"COLUMNS": "250"})


def test_a_file_of_answers():
    result = run("--answers", "answers.yaml")
    assert result.exit_code == 0, result.output
    assert "Distil, because" in result.output
    assert "breaks even after" in result.output
    assert "people's labels and time are not in it" in result.output
    assert "tutelage label" in result.output


def test_options_win_over_the_file():
    document = json.loads(run("--answers", "answers.yaml", "--queries", "20000", "--json").output)
    assert document["advice"] == "stay"
    assert document["because"]["rule"] == "few queries"
    assert "$65.00 a month" in document["because"]["reason"]
    assert document["distilled"]["inputs"]["queries"]["value"] == 20_000
    forbidden = run("--answers", "answers.yaml", "--may-not-train", "--tried", "no")
    assert "may not train a model; gpt-4o-mini would save $3,055.00 a month" in forbidden.output


def test_where_nobody_is_there_to_ask_it_names_the_options():
    error = run("--kind", "classification", "--queries", "1000").exception
    assert isinstance(error, SettingsError)
    assert "--classes, --input-tokens" in error.message
    assert "--may-train or --may-not-train" in error.message
    assert "--queries" not in error.message


def test_an_answer_out_of_bounds():
    assert isinstance(run("--answers", "answers.yaml", "--quality", "95").exception, SettingsError)
    assert isinstance(run("--answers", "answers.yaml", "--drift", "often").exception, SettingsError)


def test_settings_and_traffic_answer_for_a_task(watched):
    open_ones = ("--quality", "0.9", "--latency-ms", "0", "--drift", "monthly", "--tried", "bad")
    result = run("--config", str(watched), *open_ones, "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.output)
    assert document["advice"] == "stay", "3,044 queries a month"
    assert document["facts"]["classes"] == 8
    seen = document["facts"]["seen"]
    assert seen["agreement"]["estimate"] == pytest.approx(0.93, abs=0.05)
    assert seen["teacher_ms"] == 800
    assert 0.85 < seen["repeated"] < 0.95
    assert seen["outputs"] > 10
    assert document["distilled"]["inputs"]["fallback"]["value"] == pytest.approx(0.25)
    told = run("--config", str(watched), *open_ones).output
    assert "the ten commonest are" in told
    assert "student agreement" in told
    assert "accounted, 1,000 exchanges" in told


def test_what_a_task_leaves_open_is_named(watched):
    error = run("--config", str(watched)).exception
    assert isinstance(error, SettingsError)
    assert "give --quality, --latency-ms, --drift, --tried, or" in error.message


def test_at_a_terminal_it_asks(tmp_path):
    """A real terminal; one answer is first given in a way that is not understood."""
    typed = [
        "classification",
        "77",
        "1000000",
        "500",
        "200",
        "gpt-4o",
        "a lot",
        "0.95",
        "yes",
        "teacher",
        "0",
        "monthly",
    ]
    typed += ["500", "bad"]
    main, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "tutelage", "advise"],
        stdin=child,
        stdout=child,
        stderr=child,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "250", "TERM": "dumb"},
    )
    os.close(child)
    try:
        shown = _talk(main, typed)
        assert process.wait(30) == 0, shown
    finally:
        process.kill()
        process.wait()
        os.close(main)
    assert "Which model answers now" in shown
    assert shown.count("What share of the answers") == 2
    assert "Distil, because" in shown


def _talk(terminal: int, typed: list[str]) -> str:
    """Type a line each time that a question waits (it ends in `: `); returns all that was shown."""
    shown, lines, deadline = "", iter(typed), time.monotonic() + 60
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 1.0)[0]:
            continue
        try:
            data = os.read(terminal, 65_536)
        except OSError:  # Linux says so where the other end was closed
            return shown
        if not data:
            return shown
        shown += data.decode(errors="replace")
        if shown.endswith(": "):
            os.write(terminal, f"{next(lines)}\n".encode())
    raise AssertionError(f"no end in sight: {shown}")
