"""Promoting, refusing, rolling back, and the commands that do so by hand."""

from __future__ import annotations

import pytest
import typer
from typer.testing import CliRunner

from core.errors import DataError, RegistryError
from core.ledger import Ledger, Trust
from core.registry import Registry
from tests.support.retraining import World
from tests.support.students import LABELS, write_student
from training.promotion import challenge, dismiss, previous_champion, promote, rollback
from training.runs import begin_run
from tutelage.commands.promote import promote as promote_command
from tutelage.commands.rollback import rollback as rollback_command
from tutelage.commands.runs import runs as runs_command


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A registry with four versions of one student: making the database takes seconds."""
    folder = tmp_path_factory.mktemp("registry")
    registry = Registry(f"sqlite:///{folder / 'registry.db'}", folder / "artifacts")
    for _ in range(4):
        registry.register("desk", write_student(folder / "student"), {})
    return registry


@pytest.fixture
def registry(made):
    for alias in made.aliases("desk"):
        made.set_alias("desk", alias, None)
    return made


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    ledger.migrate()
    for version in "123":
        ledger.set_trust("desk", version, [Trust("desk", version, label, True, 0.9, 9, "", 0.0) for label in LABELS])
    yield ledger
    ledger.close()


def _trail(ledger):
    return [(entry.actor, entry.action, entry.version) for entry in reversed(ledger.audit_trail("desk"))]


def test_back_and_forth(registry, ledger):
    for version in "123":
        promote(registry, ledger, "desk", version, actor="trainer")
    assert rollback(registry, ledger, "desk", actor="monitor", reason="errors") == ("3", "2")
    assert rollback(registry, ledger, "desk", actor="person") == ("2", "1")
    with pytest.raises(DataError, match="version 1 is the first champion"):
        rollback(registry, ledger, "desk", actor="person")
    assert registry.aliases("desk") == {"champion": "1"}
    assert promote(registry, ledger, "desk", "3", actor="person") == "1"
    assert rollback(registry, ledger, "desk", actor="person") == ("3", "1")
    assert _trail(ledger)[3:5] == [("monitor", "rollback", "2"), ("person", "rollback", "1")]
    assert ledger.audit_trail("desk")[-4].detail == {"from": "3", "reason": "errors"}


def test_nothing_serves_of_which_nobody_knows_what_it_may_answer(registry, ledger):
    with pytest.raises(DataError, match="nothing is known of which classes version 4"):
        promote(registry, ledger, "desk", "4", actor="person")
    promote(registry, ledger, "desk", "1", actor="trainer")
    promote(registry, ledger, "desk", "2", actor="trainer")
    ledger.set_trust("desk", "1", [])
    with pytest.raises(DataError, match="version 1"):
        rollback(registry, ledger, "desk", actor="person")
    assert registry.version_of("desk", "champion") == "2"


def test_promoting_twice_is_promoting_once(registry, ledger):
    promote(registry, ledger, "desk", "1", actor="trainer")
    challenge(registry, ledger, "desk", "2", actor="trainer", run="run_1")
    challenge(registry, ledger, "desk", "2", actor="trainer", run="run_1")
    for _ in range(2):
        promote(registry, ledger, "desk", "2", actor="trainer", detail={"from": "1"})
    assert registry.aliases("desk") == {"champion": "2"}
    assert _trail(ledger) == [("trainer", "promote", "1"), ("trainer", "challenge", "2"), ("trainer", "promote", "2")]


def test_one_that_died_between_alias_and_trail_is_completed(registry, ledger):
    promote(registry, ledger, "desk", "1", actor="trainer")
    registry.set_alias("desk", "champion", "2")
    promote(registry, ledger, "desk", "2", actor="trainer", detail={"from": "1"})
    assert previous_champion(ledger.audit_trail("desk"), "2") == "1"


def test_a_refused_one_is_challenger_no_more(registry, ledger):
    promote(registry, ledger, "desk", "1", actor="trainer")
    challenge(registry, ledger, "desk", "2", actor="trainer")
    for _ in range(2):
        dismiss(registry, ledger, "desk", "2", actor="trainer", detail={"run": "run_1"})
    dismiss(registry, ledger, "desk", "3", actor="trainer")
    assert registry.aliases("desk") == {"champion": "1"}
    assert _trail(ledger)[2:] == [("trainer", "refuse", "2"), ("trainer", "refuse", "3")]


def test_without_a_champion(registry, ledger):
    with pytest.raises(DataError, match="has no champion"):
        rollback(registry, ledger, "desk", actor="person")


def _run(command, *arguments, code=0):
    app = typer.Typer()
    app.command()(command)
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if code is None:
        raise result.exception
    assert result.exit_code == code, (result.output, result.exception)
    return result.output


def test_by_hand(built_world, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    config = ("--config", tmp_path / "tutelage.yaml")
    with World.copied(built_world, tmp_path) as world:
        assert "0 runs; an alarm that asks for it starts one" in _run(runs_command, *config)
        assert "1 is desk's champion already" in _run(promote_command, *config, "--version", 1)
        with pytest.raises(DataError, match="no candidate that is newer"):
            _run(promote_command, *config, code=None)
        with pytest.raises(DataError, match="nothing is known of which classes version 9"):
            _run(promote_command, *config, "--version", 9, code=None)
        version = world.registry.register("desk", write_student(tmp_path / "student"), {})
        world.ledger.set_trust("desk", version, [Trust("desk", version, "order", True, 0.9, 9, "", 0.0)])
        output = _run(promote_command, *config, "--task", "desk")
        assert "version 2 is desk's champion in place of version 1, trusted with 1 of 1 classes" in output
        assert "version 1 is desk's champion again" in _run(rollback_command, *config, "--reason", "no good")
        newest = world.ledger.audit_trail("desk", limit=1)[0]
        assert (newest.actor, newest.action, newest.detail["reason"]) == ("person", "rollback", "no good")

        assert "is asked for" in _run(runs_command, *config, "--start")
        run = world.ledger.runs.running("desk")
        assert run.record["about"]["actor"] == "person"
        with pytest.raises(DataError, match=f"running run already, {run.id}"):
            _run(runs_command, *config, "--start", code=None)
        listed = _run(runs_command, *config)
        assert run.id in listed
        assert "1 run" in listed
        shown = _run(runs_command, *config, "--show", run.id)
        assert "asked for by a person" in shown
        assert '"recent_since"' in shown
        with pytest.raises(DataError, match="there is no run 'run_1'"):
            _run(runs_command, *config, "--show", "run_1", code=None)
        world.ledger.set_trust("desk", "9", [Trust("desk", "9", "order", True, 0.9, 9, "", 0.0)])
        with pytest.raises(RegistryError):
            _run(promote_command, *config, "--version", 9, code=None)


def test_a_task_without_a_champion_has_nothing_to_improve_on(built_world, tmp_path):
    with World.copied(built_world, tmp_path) as world:
        world.registry.set_alias("desk", "champion", None)
        with pytest.raises(DataError, match="has no champion to improve on; `tutelage train"):
            begin_run(world.context(), "desk")
