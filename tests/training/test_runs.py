"""A run from alarm to verdict, on real stores; and runs that die at every point where one can."""

from __future__ import annotations

import json
import time

import pytest

from core.ids import mint
from core.ledger import RunState
from core.ledger.runs import Runs
from core.models.folder import load_student
from tests.support.desk import INTENTS, messages
from tests.support.labelling_teacher import LabellingTeacher
from tests.support.processes import asgi_server
from tests.support.retraining import SECOND_WORDS, World, second_wave
from tests.support.students import write_student
from training.gates import GateReport
from training.promotion import promote
from training.register import trust_rows
from training.runs import STEPS, Runner, begin_run
from training.runs.results import DataResult, TrafficResult, TrialResult, found
from training.trust import Verdict


class Killed(BaseException):
    """What a SIGKILL looks like from inside."""


class Clock:
    """The time, which a test may push on."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


def _try(world, run, count=70, words=second_wave, seed=9, challenger=None):
    """Live traffic on which both students are compared."""
    folder = world.settings.state / "runs" / run.id
    world.compare(
        words(count, seed=seed),
        load_student(folder / "champion"),
        start=time.time(),
        challenger=load_student(challenger or folder / "student"),
    )


def _to_trial(world, **changes):
    context = world.context(**changes)
    run = begin_run(context, "desk", [world.alarm("order")])
    runner = Runner(context)
    assert not runner.work(run.id)
    return runner, world.ledger.runs.get(run.id)


def test_from_an_alarm_to_a_new_champion(world):
    runner, run = _to_trial(world)
    assert (run.step, run.candidate, run.champion) == ("trial", "2", "1")
    assert world.registry.aliases("desk") == {"champion": "1", "challenger": "2"}
    assert len(world.ledger.trust("desk", "2")) == 3
    data = found(run, "data", DataResult)
    assert data.train + data.calibration + data.holdout == data.examples == 1100
    assert 0 < data.gate_recent < data.gate <= data.holdout
    assert data.sources["shadow, recent"] == 200
    gates = found(run, "gates", GateReport)
    assert gates.paired.alpha == 0.025
    assert {part.name: part.texts > 20 for part in gates.paired.parts} == {"recent traffic": True, "older data": True}

    _try(world, run, 30)
    assert not runner.work(run.id)  # too few yet
    assert world.ledger.runs.get(run.id).attempts == 0
    _try(world, run, 50, seed=10)
    assert runner.work(run.id)
    ended = world.ledger.runs.get(run.id)
    assert (ended.state, ended.verdict, ended.owner) == (RunState.PROMOTED, "passed", "")
    assert world.registry.aliases("desk") == {"champion": "2"}
    assert world.ledger.trusted("desk")["2"] == frozenset(INTENTS)
    trail = [(entry.action, entry.version) for entry in reversed(world.ledger.audit_trail("desk"))]
    assert trail[-4:] == [("retrain", "1"), ("register", "2"), ("challenge", "2"), ("promote", "2")]
    assert not runner.work(run.id)

    folder = world.settings.state / "runs" / run.id
    report = json.loads((folder / "report.json").read_bytes())
    assert report["state"] == "promoted"
    assert report["trial"]["comparisons"] == 80
    page = (folder / "report.html").read_text()
    assert ended.report == str(folder / "report.html")
    assert "Promoted" in page
    assert "tutelage rollback --task desk" in page
    assert "http" not in page.replace("http-equiv", "")
    card = load_student(folder / "student").card
    assert card.data["run"] == run.id
    assert card.data["run_sha256"] == data.sha256


def test_a_run_that_an_alarm_started_waits_until_there_is_enough_to_learn_from(built_world, tmp_path):
    with World.copied(built_world, tmp_path, recent_texts=150) as world:
        context = world.context()
        run = begin_run(context, "desk", [world.alarm("order")])
        runner = Runner(context)
        for _ in range(4):  # more often than a step may fail
            assert not runner.work(run.id)
        waiting = world.ledger.runs.get(run.id)
        assert (waiting.step, waiting.attempts, waiting.state) == ("await_traffic", 0, RunState.RUNNING)
        world.exchange(second_wave(80, seed=8), load_student(world.registry.fetch("desk", "1", tmp_path / "champion")))
        assert not runner.work(run.id)
        went_on = world.ledger.runs.get(run.id)
        waited = found(went_on, "await_traffic", TrafficResult)
        assert went_on.step == "trial"
        assert waited.texts >= waited.wanted == 150


def test_it_waits_no_longer_than_it_may(built_world, tmp_path):
    clock = Clock()
    with World.copied(built_world, tmp_path, recent_texts=150, recent_wait_hours=6) as world:
        context = world.context(clock=clock)
        run = begin_run(context, "desk", [world.alarm("order")])
        runner = Runner(context)
        clock.ahead = 5.9 * 3600
        assert not runner.work(run.id)
        assert world.ledger.runs.get(run.id).step == "await_traffic"
        clock.ahead = 6.1 * 3600
        runner.work(run.id)
        waited = found(world.ledger.runs.get(run.id), "await_traffic", TrafficResult)
        assert waited.texts < waited.wanted
        assert waited.hours > 6


def test_a_run_that_a_person_asked_for_waits_for_nothing(built_world, tmp_path):
    with World.copied(built_world, tmp_path, recent_texts=150) as world:
        context = world.context()
        run = begin_run(context, "desk", actor="person")
        Runner(context).work(run.id)
        assert world.ledger.runs.get(run.id).step == "trial"


def test_a_bad_candidate_is_refused_and_the_classes_named(world):
    context = world.context()
    run = begin_run(context, "desk", [world.alarm("order")])
    runner = Runner(context)
    bad = {name: words + SECOND_WORDS[name] for name, words in INTENTS.items()} | {"praise": ("nothing",)}
    _until(world, runner, run.id, "gates")
    write_student(world.settings.state / "runs" / run.id / "student", "desk", bad)
    assert runner.work(run.id)
    ended = world.ledger.runs.get(run.id)
    assert (ended.state, ended.verdict, ended.candidate) == (RunState.REFUSED, "refused", "")
    assert "it would hurt 1 of 3 classes: praise (" in ended.reason
    assert found(ended, "gates", GateReport).paired.hurt == ["praise"]
    assert world.registry.aliases("desk") == {"champion": "1"}
    report = json.loads((world.settings.state / "runs" / run.id / "report.json").read_bytes())
    assert report["hurt"] == ["praise"]
    assert world.ledger.audit_trail("desk", limit=1)[0].action == "refuse"

    again = begin_run(context, "desk", world.ledger.alarms.open("desk"))
    assert again.record["about"]["earlier"] == 1
    _until(world, runner, again.id, "register")
    assert found(world.ledger.runs.get(again.id), "gates", GateReport).paired.alpha == 0.0125


def test_a_candidate_that_is_bad_on_live_traffic_is_refused_after_its_trial(world, tmp_path):
    runner, run = _to_trial(world)
    worse = write_student(tmp_path / "worse", "desk", dict.fromkeys(INTENTS, ("nothing",)))
    _try(world, run, 80, words=messages, challenger=worse)
    assert runner.work(run.id)
    ended = world.ledger.runs.get(run.id)
    assert ended.state is RunState.REFUSED
    assert "on trial: not shown to be within" in ended.reason
    assert "on trial: it would hurt" in ended.reason
    assert world.registry.aliases("desk") == {"champion": "1"}


def test_a_trial_ends_with_its_time_and_says_on_how_much_it_decides(world):
    clock = Clock()
    runner, run = _to_trial(world, clock=clock)
    _try(world, run, 45)
    assert not runner.work(run.id)
    clock.ahead = 80 * 3600
    assert runner.work(run.id)
    ended = world.ledger.runs.get(run.id)
    assert ended.state is RunState.PROMOTED
    trial = found(ended, "trial", TrialResult)
    assert (trial.ended, trial.comparisons) == ("timeout", 45)


def test_a_trial_without_traffic_is_refused(world):
    clock = Clock()
    runner, run = _to_trial(world, clock=clock)
    _try(world, run, 10)
    clock.ahead = 80 * 3600
    assert runner.work(run.id)
    assert "saw only 10 comparisons in 80.0 hours; 40 are needed" in world.ledger.runs.get(run.id).reason


@pytest.mark.parametrize("replaced", [False, True])
def test_a_person_may_be_faster(world, replaced):
    runner, run = _to_trial(world)
    version = "2"
    if replaced:
        folder = world.settings.state / "runs" / run.id / "champion"
        version = world.registry.register("desk", folder, {})
        rows = trust_rows("desk", version, [Verdict("order", True, 1.0, 9, "")])
        world.ledger.set_trust("desk", version, rows)
    promote(world.registry, world.ledger, "desk", version, actor="person")
    assert runner.work(run.id)
    ended = world.ledger.runs.get(run.id)
    if replaced:
        assert ended.state is RunState.REFUSED
        assert "version 3 became champion while it was on trial" in ended.reason
    else:
        assert ended.state is RunState.PROMOTED
        assert "by hand" in ended.reason
    assert world.registry.aliases("desk") == {"champion": version}


class _Dying(Runs):
    """Dies at a write: just before, so that a step's work is lost, or just after, so that it is kept."""

    def __init__(self, engine, before) -> None:
        super().__init__(engine)
        self.before = before
        self.deaths: list[str] = []
        self.armed = False

    def finish_step(self, run, *arguments, **values):
        return self._die(run.step, lambda: super(_Dying, self).finish_step(run, *arguments, **values))

    def close(self, run, *arguments, **values):
        return self._die(f"close {run.step}", lambda: super(_Dying, self).close(run, *arguments, **values))

    def _die(self, place, write):
        if self.armed and place not in self.deaths:
            self.deaths.append(place)
            if not self.before:
                assert write()
            raise Killed
        return write()


@pytest.mark.parametrize("before", [True, False])
def test_a_run_that_dies_between_any_two_steps_is_taken_up_where_it_was(world, before):
    clock = Clock()
    context = world.context(clock=clock)
    run = begin_run(context, "desk", [world.alarm("order")])
    dying = world.ledger.runs = _Dying(world.ledger._engine, before)
    dying.armed = True
    ended = tried = False
    for _ in range(20):
        try:
            ended = Runner(context, renew_seconds=60).work(run.id)  # a trainer that is started anew
        except Killed:
            assert not Runner(context).work(run.id)  # nobody takes it while the claim is fresh
            clock.ahead += 31
            continue
        now = world.ledger.runs.get(run.id)
        if ended or now.state is not RunState.RUNNING:
            break
        if now.step == "trial" and not tried:
            tried = True
            _try(world, now)
        clock.ahead += 31
    assert dying.deaths == [*STEPS[:-1], "close verdict"]
    final = world.ledger.runs.get(run.id)
    assert final.state is RunState.PROMOTED
    assert [version.version for version in world.registry.versions("desk")] == ["1", "2"]
    assert world.registry.aliases("desk") == {"champion": "2"}
    promotions = [entry.version for entry in world.ledger.audit_trail("desk") if entry.action == "promote"]
    assert promotions == ["2", "1"]
    assert (world.settings.state / "runs" / run.id / "report.html").is_file()


def test_a_step_that_kills_its_process_again_and_again_is_given_up(world):
    clock = Clock()

    def deadly(progress):
        raise Killed

    context = world.context(clock=clock, report=deadly)
    run = begin_run(context, "desk", [world.alarm("order")])
    for _ in range(3):
        with pytest.raises(Killed):
            Runner(context).work(run.id)
        clock.ahead += 31
    assert Runner(context).work(run.id)
    ended = world.ledger.runs.get(run.id)
    assert (ended.state, ended.step) == (RunState.FAILED, "candidate")
    assert "the step candidate was begun 3 times and never finished" in ended.reason
    assert "Failed" in (world.settings.state / "runs" / run.id / "report.html").read_text()


def test_a_passing_trouble_is_tried_again_later(world):
    clock = Clock()
    troubles = [OSError("disk away"), None]

    def shaky(progress):
        trouble = troubles.pop(0) if troubles else None
        if trouble:
            raise trouble

    context = world.context(clock=clock, report=shaky)
    run = begin_run(context, "desk", [world.alarm("order")])
    runner = Runner(context)
    assert not runner.work(run.id)
    assert world.ledger.runs.get(run.id).reason == "OSError: disk away"
    assert not runner.work(run.id)
    assert world.ledger.runs.get(run.id).attempts == 1
    clock.ahead = 16
    assert not runner.work(run.id)
    now = world.ledger.runs.get(run.id)
    assert (now.step, now.reason) == ("trial", "")


def test_what_cannot_get_better_is_not_tried_again(built_world, tmp_path):
    with World.copied(built_world, tmp_path) as world:
        settings = world.settings
        task = settings.task("desk")
        forbidden = task.model_copy(update={"teacher": task.teacher.model_copy(update={"may_train": False})})
        changed = settings.model_copy(update={"tasks": {"desk": forbidden}})
        context = world.context()
        run = begin_run(context, "desk", [world.alarm("order")])
        world.settings = changed
        assert Runner(world.context()).work(run.id)
        ended = world.ledger.runs.get(run.id)
    assert ended.state is RunState.FAILED
    assert "at the step data: tasks.desk.teacher.may_train is false" in ended.reason


class _Knowing(LabellingTeacher):
    def __init__(self) -> None:
        super().__init__()
        self.truth = dict(second_wave(120, seed=7))

    def _answer(self, request):
        status, headers, document = super()._answer(request)
        document["choices"][0]["message"]["content"] = self.truth[request["messages"][-1]["content"]]
        return status, headers, document


def test_recent_traffic_of_the_affected_classes_is_labelled_within_the_budget(built_world, tmp_path):
    teacher = _Knowing()
    with asgi_server(teacher) as url, World.copied(built_world, tmp_path, f"{url}/v1", label_budget=20) as world:
        context = world.context()
        run = begin_run(context, "desk", [world.alarm("order")])
        runner = Runner(context)
        _until(world, runner, run.id, "candidate")
        data = found(world.ledger.runs.get(run.id), "data", DataResult)
        assert data.asked == len(teacher.requests) == 20
        assert data.sources["labelled, recent"] == 20
        assert data.examples == 1120
        labelled = set(teacher.texts)
        student = load_student(world.settings.state / "runs" / run.id / "champion")
        assert {student.labels.names[row.argmax()] for row in student.predict(sorted(labelled)).probabilities} == {
            "order"
        }


def test_without_permission_to_ask_it_goes_on_with_what_there_is(built_world, tmp_path):
    with World.copied(built_world, tmp_path, label_budget=20) as world:
        task = world.settings.task("desk")
        closed = task.model_copy(update={"teacher": task.teacher.model_copy(update={"data_may_leave": False})})
        world.settings = world.settings.model_copy(update={"tasks": {"desk": closed}})
        context = world.context()
        run = begin_run(context, "desk", [world.alarm()])
        _until(world, Runner(context), run.id, "candidate")
        data = found(world.ledger.runs.get(run.id), "data", DataResult)
    assert data.asked == 0
    assert data.notes == ["20 recent texts were not labelled: teacher.data_may_leave is false"]


def test_one_run_a_task(world):
    context = world.context()
    run = begin_run(context, "desk")
    assert run.record["about"]["actor"] == "trainer"
    assert begin_run(context, "desk") is None
    runs, now = world.ledger.runs, time.time()
    assert runs.claim(run.id, "a", at=now, stale_before=now - 30)
    assert not runs.claim(run.id, "b", at=now, stale_before=now - 30)
    assert runs.claim(run.id, "b", at=now, stale_before=now + 1)
    assert not runs.renew(run.id, "a", now)
    assert not runs.finish_step(run, "a", {}, then="candidate", at=now)
    assert runs.release(run.id, "b")
    assert runs.claim(run.id, "a", at=now, stale_before=now - 30)
    assert runs.close(run, "a", RunState.FAILED, verdict="", reason="", report="", at=now)
    assert not runs.claim(run.id, "a", at=now, stale_before=now)
    assert begin_run(context, "desk") is not None
    assert runs.started_since("desk", now - 60) == 2
    assert runs.get(mint("run")) is None


def _until(world, runner, run_id, step):
    """Work until the run comes to `step`, by dying there."""
    runs = world.ledger.runs

    class _Stopping(Runs):
        def count_attempt(self, run, owner, now_at, at):
            if now_at == step:
                raise Killed
            return super().count_attempt(run, owner, now_at, at)

    runner._runs = _Stopping(world.ledger._engine)
    with pytest.raises(Killed):
        runner.work(run_id)
    runner._runs = runs
