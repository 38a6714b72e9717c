"""`tutelage alarms` and `tutelage status`, as a person sees them."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest
import typer
import yaml
from typer.testing import CliRunner

from core.errors import DataError
from core.ledger import Canary, Threshold
from monitoring.alarms import Reviewer
from monitoring.rules import rules_of
from monitoring.signals import STUDENT, is_due
from monitoring.snapshot import NAME, encode_state
from monitoring.state import TaskState
from tests.support.monitoring_world import LABELS, World, task_settings, trust_rows
from tests.support.processes import write_settings
from tutelage.commands.alarms import alarms
from tutelage.commands.status import status


@pytest.fixture
def config(tmp_path):
    return write_settings(
        tmp_path / "tutelage.yaml",
        {"state": str(tmp_path / "state"), "tasks": {"desk": task_settings().model_dump(mode="json")}},
    )


def run(*arguments: str):
    app = typer.Typer()
    app.command("alarms")(alarms)
    app.command("status")(status)
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "250"})


@pytest.fixture
def alarmed(ledger):
    """A task that fell, with its alarm and its snapshot."""
    settings, world, state = task_settings(), World(), TaskState("desk")
    rules = rules_of(settings)
    reviewer = Reviewer("desk", ledger, rules, settings.watch)
    ledger.set_trust("desk", "1", trust_rows())
    state.begin("1", rules, ledger.trust("desk", "1"))
    for number in range(900):
        if number == 800:
            world.agreement = dict.fromkeys(LABELS, 0.2)
        exchange, comparison = world.pair(drawn=True)
        state.observe_exchange(exchange, rules)
        assert comparison is not None
        state.observe(comparison, rules)
        if is_due(state, rules):
            reviewer.review(state, time.time())
    assert ledger.snapshots.save("desk", NAME, after=0, position={}, state=encode_state(state), at=time.time())
    return next(alarm for alarm in ledger.alarms.open("desk") if alarm.cause == STUDENT)


def test_status_of_a_task_that_nobody_watches_yet(config, ledger):
    result = run("status", "--config", str(config))
    assert result.exit_code == 0, result.output
    assert "none that has answered yet" in result.output
    assert "is the monitor running?" in result.output
    assert "0 open alarm(s)" in result.output


def test_status_says_how_the_task_is_doing(config, alarmed):
    result = run("status", "--config", str(config))
    assert result.exit_code == 0, result.output
    assert "version 1, trusted with 0 of 8 classes" in result.output
    assert "student_agreement (warning, open" in result.output
    assert "of 900 since this version began" in result.output
    assert "10% of what the student answers" in result.output
    assert "0 exchanges, 0 feedback, 0 comparisons" in result.output


@pytest.mark.parametrize("confidence", [0.82, None])
def test_status_says_from_where_on_it_answers_and_who_is_tried(config, ledger, alarmed, confidence):
    plain = run("status", "--config", str(config)).output
    assert "confidence 0.5 on (trust.min_confidence)" in plain
    document = yaml.safe_load(config.read_text())
    document["tasks"]["desk"]["trust"] = {"target_agreement": 0.95}
    config.write_text(yaml.safe_dump(document))
    assert "judged without a target" in run("status", "--config", str(config)).output
    ledger.thresholds.replace("desk", "1", Threshold("desk", "1", confidence, 0.95, "190 of 194", time.time()))
    ledger.canaries.begin(Canary("desk", "2", 0.05, time.time() - 600))
    output = run("status", "--config", str(config)).output
    assert ("no confidence on: 190 of 194" if confidence is None else "confidence 0.82 on: 190 of 194") in output
    assert "version 2 answers 5% of users, for 10 minutes now" in output


def test_resolving_gives_a_raised_threshold_back(config, ledger, alarmed):
    evidence = alarmed.evidence | {"threshold": {"from": 0.6, "to": 0.8}}
    assert ledger.alarms.update(replace(alarmed, evidence=evidence))
    ledger.thresholds.replace("desk", "1", Threshold("desk", "1", 0.8, 0.95, "raised", time.time()))
    resolved = run("alarms", "--resolve", alarmed.id, "--restore-trust", "--config", str(config))
    assert "answers from confidence 0.6 on again" in resolved.output
    assert ledger.thresholds.confidences("desk") == {"1": 0.6}


def test_alarms_are_listed_shown_acknowledged_and_resolved(config, ledger, alarmed):
    assert alarmed.id in run("alarms", "--config", str(config)).output
    shown = json.loads(run("alarms", "--show", alarmed.id, "--config", str(config)).output)
    assert shown["evidence"]["student_agreement"]["estimate"] < 0.7
    assert run("alarms", "--acknowledge", alarmed.id, "--config", str(config)).exit_code == 0
    assert ledger.alarms.get(alarmed.id).state.value == "acknowledged"
    resolved = run("alarms", "--resolve", alarmed.id, "--restore-trust", "--note", "a test", "--config", str(config))
    assert "trusted again with c0" in resolved.output
    restored = set(alarmed.evidence["withdrawn"])
    assert restored
    assert restored <= ledger.trusted("desk")["1"]
    assert {"resolve_alarm", "restore_trust"} <= {entry.action for entry in ledger.audit_trail("desk")}
    assert ledger.alarms.get(alarmed.id).note == "a test"
    assert alarmed.id in run("alarms", "--all", "--task", "desk", "--config", str(config)).output
    assert "resolved already" in run("alarms", "--resolve", alarmed.id, "--config", str(config)).output


def test_an_unknown_alarm_is_said_to_be(config, ledger):
    result = run("alarms", "--show", "al_none", "--config", str(config))
    assert isinstance(result.exception, DataError)
    assert "no open alarms" in run("alarms", "--config", str(config)).output
