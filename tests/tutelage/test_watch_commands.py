"""`tutelage alarms` and `tutelage status`, as a person sees them."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest
import typer
import yaml
from typer.testing import CliRunner

from core.errors import DataError, NotificationError, SettingsError
from core.ledger import Canary, Threshold
from monitoring.alarms import Reviewer
from monitoring.rules import rules_of
from monitoring.signals import STUDENT, is_due
from monitoring.snapshot import NAME, decode_state, encode_state
from monitoring.state import TaskState
from tests.support.monitoring_world import LABELS, World, task_settings, trust_rows
from tests.support.processes import write_settings
from tests.support.webhook import Receiver
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


def test_status_says_what_is_known_of_the_teacher(config, ledger, alarmed):
    output = run("status", "--config", str(config)).output
    assert "the teacher has not been asked twice" in output
    assert "its golden set has not been asked yet" in output
    found = ledger.snapshots.load("desk", NAME)
    state = decode_state(found.state, "desk")
    for _ in range(90):
        state.ceiling.mean.add(True, 1.0)
    for _ in range(10):
        state.ceiling.mean.add(False, 1.0)
    state.golden.asked_at, state.golden.agreement = time.time() - 7200, 0.71
    state.golden.usual, state.golden.changed = 0.98, 9
    state.staleness.sources, state.staleness.looked_at = ["golden_set"], time.time()
    assert ledger.snapshots.save("desk", NAME, after=1, position={}, state=encode_state(state), at=time.time())
    output = run("status", "--config", str(config)).output
    assert "the teacher agrees with itself 90.0% [" in output
    assert "no student can be expected to reach more than 9" in output
    assert "has changed: it answered 71.0% of its golden set as at first, 2 hours ago (before: 98.0%)" in output
    assert "nothing new of: golden set" in output


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
    shown = json.loads(run("alarms", "--show", alarmed.id, "--json", "--config", str(config)).output)
    assert shown["evidence"]["student_agreement"]["estimate"] < 0.7
    assert alarmed.id in {row["id"] for row in json.loads(run("alarms", "--json", "--config", str(config)).output)}
    panel = run("alarms", "--show", alarmed.id, "--config", str(config)).output
    for told in (
        "fell below its baseline of",
        "How sure",
        "Trust was taken from",
        "class that lost",
        "Next",
        "Examples",
    ):
        assert told in panel
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


def test_a_test_notification_goes_through_every_channel(config, ledger, monkeypatch):
    nothing = run("alarms", "--test-notification", "--config", str(config))
    assert isinstance(nothing.exception, SettingsError)
    with Receiver() as receiver, Receiver() as broken:
        broken.status = 500
        document = yaml.safe_load(config.read_text())
        document["notify"] = {
            "alertmanager_url": f"http://127.0.0.1:{receiver.port}",
            "apprise_urls_env": "TEST_NOTIFICATION_URLS",
        }
        config.write_text(yaml.safe_dump(document))
        monkeypatch.setenv("TEST_NOTIFICATION_URLS", f"json://127.0.0.1:{receiver.port}/hook")
        told = run("alarms", "--test-notification", "--config", str(config))
        assert told.exit_code == 0, told.output
        assert told.output.count("delivered") == 2
        assert {path for path, _, _ in receiver.received} == {"/api/v2/alerts", "/hook"}
        monkeypatch.setenv("TEST_NOTIFICATION_URLS", f"json://127.0.0.1:{broken.port}/hook")
        told = run("alarms", "--test-notification", "--config", str(config))
        assert isinstance(told.exception, NotificationError)
        assert "refused, or nobody was there" in told.output
