"""Which alarms become runs, when; and the role as a process."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from core.errors import RegistryError
from core.ledger import RunState
from core.models.folder import load_student
from core.registry import Registry
from tests.support.processes import ROOT
from tests.support.retraining import DAY, World, second_wave
from training.runs import Runner
from training.trainer import Trainer


class _Clock:
    ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


class _Server:
    """The student server, as far as the trainer asks it."""

    version: str | None = "1"

    def __call__(self, task: str) -> str | None:
        return self.version


def _trainer(world, server=None, **changes):
    context = world.context(**changes)
    return Trainer(context, Runner(context), server or _Server())


def _runs(world):
    return [(run.state.value, run.step) for run in world.ledger.runs.newest("desk")]


def _live(world, run, count=70, seed=9):
    folder = world.settings.state / "runs" / run.id
    world.compare(
        second_wave(count, seed=seed),
        load_student(folder / "champion"),
        start=time.time(),
        challenger=load_student(folder / "student"),
    )


def test_an_alarm_becomes_a_run_and_is_resolved_when_the_new_student_has_taken_over(world):
    server = _Server()
    trainer = _trainer(world, server)
    trainer.tick()
    assert _runs(world) == []
    alarm = world.alarm("order")
    trainer.tick()
    assert _runs(world) == [("running", "trial")]
    run = world.ledger.runs.running("desk")
    assert run.alarm == alarm.id
    _live(world, run)
    trainer.tick()
    assert _runs(world) == [("promoted", "verdict")]
    assert world.ledger.alarms.open("desk")
    trainer.tick()
    assert world.ledger.alarms.open("desk"), "the server has not loaded it yet"
    server.version = "2"
    trainer.tick()
    resolved = world.ledger.alarms.get(alarm.id)
    assert resolved.state.value == "resolved"
    assert resolved.note == f"version 2 has taken over from version 1 (run {run.id})"
    trainer.tick()
    assert len(_runs(world)) == 1


def test_settings_hold_it_back(built_world, tmp_path):
    with World.copied(built_world, tmp_path, automatic=False) as world:
        world.alarm("order")
        _trainer(world).tick()
        assert _runs(world) == []


def test_it_waits_between_runs_and_makes_no_more_a_day_than_it_may(built_world, tmp_path):
    changes = {"cooldown_minutes": 10, "runs_per_day": 2, "trial_hours": 0.01}
    with World.copied(built_world, tmp_path, **changes) as world:
        clock = _Clock()
        trainer = _trainer(world, clock=clock)
        world.alarm("order")
        trainer.tick()
        clock.ahead += 60
        trainer.tick()  # its trial saw nothing
        assert _runs(world) == [("refused", "verdict")]
        trainer.tick()
        assert len(_runs(world)) == 1
        clock.ahead += 601
        trainer.tick()
        assert len(_runs(world)) == 2
        clock.ahead += 60
        trainer.tick()
        clock.ahead += 601
        trainer.tick()
        assert len(_runs(world)) == 2
        clock.ahead += DAY
        trainer.tick()
        assert len(_runs(world)) == 3


def test_a_changed_teacher_holds_it_back_where_settings_say_so(built_world, tmp_path):
    with World.copied(built_world, tmp_path) as world:
        changed = replace(world.alarm("order"), id="al_teacher", cause="teacher_drift", retrain=False)
        world.ledger.alarms.raise_alarm(changed)
        task = world.settings.task("desk")
        held = task.model_copy(update={"watch": task.watch.model_copy(update={"hold_on_teacher_drift": True})})
        world.settings = world.settings.model_copy(update={"tasks": {"desk": held}})
        trainer = _trainer(world)
        trainer.tick()
        assert _runs(world) == []
        world.ledger.alarms.resolve(changed.id, "it is fine", time.time())
        trainer.tick()
        assert _runs(world) == [("running", "trial")]


def test_alarms_that_ask_for_nothing_or_are_about_the_past_start_nothing(world):
    server = _Server()
    world.alarm("order", version="0")
    _trainer(world, server).tick()
    assert _runs(world) == []
    assert not world.ledger.alarms.open("desk"), "version 1 has taken over from it"


def test_the_schedule_starts_a_run_that_no_alarm_asks_for(built_world, tmp_path):
    with World.copied(built_world, tmp_path, every_days=3, trial_hours=0.01) as world:
        clock = _Clock()
        trainer = _trainer(world, clock=clock)
        trainer.tick()
        assert _runs(world) == [], "the champion was promoted today"
        clock.ahead += 2 * DAY
        trainer.tick()
        assert _runs(world) == []
        clock.ahead += DAY + 60
        trainer.tick()
        assert _runs(world) == [("running", "trial")]
        about = world.ledger.runs.running("desk").record["about"]
        assert (about["actor"], about["cause"], about["alarms"], about["earlier"]) == ("schedule", "schedule", [], 0)
        clock.ahead += 60
        trainer.tick()
        trainer.tick()
        assert _runs(world) == [("refused", "verdict")], "its trial saw nothing, and the next is not due"
        clock.ahead += 3 * DAY
        trainer.tick()
        about = world.ledger.runs.running("desk").record["about"]
        assert about["earlier"] == 1, "the next shares its error budget"


def test_an_alarm_comes_before_the_schedule(built_world, tmp_path):
    with World.copied(built_world, tmp_path, every_days=1) as world:
        clock = _Clock()
        clock.ahead = 2 * DAY
        alarm = world.alarm("order")
        _trainer(world, clock=clock).tick()
        assert world.ledger.runs.running("desk").alarm == alarm.id


class _Shaky(Registry):
    away = True

    def aliases(self, task):
        if self.away:
            raise RegistryError("the model registry is away")
        return super().aliases(task)


def test_a_registry_that_is_away_is_waited_for(world):
    world.registry = _Shaky(world.settings.registry_url, world.settings.state / "artifacts")
    trainer = _trainer(world)
    world.alarm("order")
    for _ in range(2):
        trainer.tick()
    assert _runs(world) == []
    world.registry.away = False
    trainer.tick()
    assert _runs(world) == [("running", "trial")]


@pytest.mark.integration
def test_the_role_stops_at_sigterm_and_gives_its_run_back(built_world, tmp_path):
    with World.copied(built_world, tmp_path) as world:
        world.alarm("order")
        command = [sys.executable, "-m", "training.serve", "--config", str(tmp_path / "tutelage.yaml")]
        with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE) as role:
            run = _wait(lambda: world.ledger.runs.running("desk"))
            _wait(lambda: world.ledger.runs.get(run.id).step != "data")
            role.send_signal(signal.SIGTERM)
            assert role.wait(20) == 0, role.stderr.read()
        stopped = world.ledger.runs.get(run.id)
        assert (stopped.state, stopped.owner) == (RunState.RUNNING, "")
        trainer = _trainer(world)
        trainer.tick()  # another one need not wait for the claim to grow old
        _live(world, run)
        trainer.tick()
        assert world.ledger.runs.get(run.id).state is RunState.PROMOTED


def _wait(condition, seconds=40.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("it did not come to that")
