"""A run's canary, on real stores: begun with trust, watched in the archive, and ended for what it has shown."""

from __future__ import annotations

import json
import time

import pytest

from core.ids import mint
from core.ledger import RunState
from core.models.folder import load_student
from core.records import Answerer, Exchange, Reason, StudentAnswer
from tests.support.retraining import World, second_wave
from training.promotion import promote, rollback
from training.runs import Runner, begin_run
from training.runs.results import CanaryResult, found


class Clock:
    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@pytest.fixture
def canary(built_world, tmp_path):
    """A run whose canary has just begun, and its runner."""
    changes = {"canary_requests": 40, "canary_share": 0.2, "canary_hours": 2}
    with World.copied(built_world, tmp_path, **changes) as world:
        world.clock = Clock()
        context = world.context(clock=world.clock)
        run = begin_run(context, "desk", [world.alarm("order")])
        runner = Runner(context)
        assert not runner.work(run.id)
        folder = world.settings.state / "runs" / run.id
        students = load_student(folder / "champion"), load_student(folder / "student")
        world.compare(second_wave(70, seed=9), students[0], start=time.time(), challenger=students[1])
        assert not runner.work(run.id)
        yield world, runner, world.ledger.runs.get(run.id)


def _serve(world, count, *, challenger=False, failed=0, late=0, ms=2.0, user=""):
    """Archive live exchanges of the champion, or of the challenger's share."""
    version, start = "2" if challenger else "1", time.time()
    records = []
    for place in range(count):
        broken = Reason.RETRY_FALLBACK if place < failed else Reason.OVER_DEADLINE if place < failed + late else None
        answer = None if broken else StudentAnswer(version, "order", 0.9, "set")
        records.append(
            Exchange(
                mint(),
                "desk",
                start + place / 1000 + challenger / 2000,
                Answerer.TEACHER if broken else Answerer.STUDENT,
                broken or (Reason.CHALLENGER if challenger else Reason.CHAMPION),
                200,
                version="" if broken else version,
                label="order",
                student=answer,
                user=user,
                upstream_ms=ms,
                canary=version if challenger else "",
            )
        )
    world._append("tutelage:desk:exchanges", records)


def _end(world, runner, run):
    """Work on; returns the run as it ended, and what its canary found."""
    assert runner.work(run.id)
    ended = world.ledger.runs.get(run.id)
    assert world.ledger.canaries.all() == {}
    return ended, found(ended, "canary", CanaryResult)


def test_it_begins_trusted_and_takes_over_after_enough_requests(canary):
    world, runner, run = canary
    assert (run.step, run.attempts) == ("canary", 0)
    begun = world.ledger.canaries.get("desk")
    assert (begun.version, begun.share) == ("2", 0.2)
    assert world.registry.aliases("desk") == {"champion": "1", "challenger": "2"}
    assert world.ledger.trusted("desk")["2"] == {"order", "refund", "praise"}
    _serve(world, 120)
    _serve(world, 30, challenger=True)
    assert not runner.work(run.id)
    _serve(world, 10, challenger=True, ms=3.0)
    ended, result = _end(world, runner, run)
    assert ended.state is RunState.PROMOTED
    assert "has passed the gates, its trial and its canary" in ended.reason
    assert (result.ended, result.candidate.requests, result.champion.requests) == ("complete", 40, 120)
    assert result.candidate.failed == result.champion.failed == 0
    assert result.slowdown == pytest.approx(1.0)
    assert world.registry.aliases("desk") == {"champion": "2"}
    trail = [(entry.action, entry.version) for entry in reversed(world.ledger.audit_trail("desk"))]
    assert trail[-3:] == [("challenge", "2"), ("canary", "2"), ("promote", "2")]
    report = json.loads((world.settings.state / "runs" / run.id / "report.json").read_bytes())
    assert report["canary"]["candidate"]["requests"] == 40


def test_failures_end_it_early_and_refuse(canary):
    world, runner, run = canary
    _serve(world, 40, failed=1)
    _serve(world, 12, challenger=True, failed=6, late=2)
    ended, result = _end(world, runner, run)
    assert ended.state is RunState.REFUSED
    assert "as canary: it failed 8 of 12 live requests" in ended.reason
    assert (result.ended, result.candidate.failed, result.champion.failed) == ("stopped", 8, 1)
    assert world.registry.aliases("desk") == {"champion": "1"}
    report = json.loads((world.settings.state / "runs" / run.id / "report.json").read_bytes())
    assert report["reason"] == result.refusals


def test_slowness_ends_it_too(canary):
    world, runner, run = canary
    _serve(world, 60)
    _serve(world, 15, challenger=True, ms=80.0)
    ended, result = _end(world, runner, run)
    assert "it is slow: 80.0 ms" in ended.reason
    assert result.slowdown == pytest.approx(40.0)


def test_a_user_whom_nobody_can_answer_is_one_failure(canary):
    world, runner, run = canary
    _serve(world, 60)
    _serve(world, 30, challenger=True, failed=30, user="sends what no student reads")
    assert not runner.work(run.id)
    assert world.ledger.canaries.get("desk") is not None


def test_the_teachers_answers_to_its_share_count_as_asked(canary):
    world, runner, run = canary
    answer = StudentAnswer("2", "order", 0.3, "set")
    unsure = [
        Exchange(mint(), "desk", time.time(), Answerer.TEACHER, Reason.LOW_CONFIDENCE, 200, student=answer, canary="2")
        for _ in range(45)
    ]
    world._append("tutelage:desk:exchanges", unsure)
    ended, result = _end(world, runner, run)
    assert ended.state is RunState.PROMOTED
    assert (result.candidate.requests, result.slowdown) == (45, None)


@pytest.mark.parametrize("requests", [0, 7])
def test_its_time_ends_it(canary, requests):
    world, runner, run = canary
    if requests:
        _serve(world, requests, challenger=True)
    world.clock.ahead = 2.1 * 3600
    ended, result = _end(world, runner, run)
    assert result.ended == "timeout"
    assert ended.state is (RunState.PROMOTED if requests else RunState.REFUSED)
    if not requests:
        assert "as canary: no live request came to it in 2.1 hours" in ended.reason


def test_a_trainer_that_dies_finds_the_canary_as_it_was(canary):
    world, runner, run = canary
    begun = world.ledger.canaries.get("desk")
    _serve(world, 20, challenger=True)
    runner.release(run.id)
    again = Runner(world.context(clock=world.clock))
    assert not again.work(run.id)
    assert world.ledger.canaries.get("desk") == begun
    _serve(world, 20, challenger=True)
    _end(world, again, run)
    assert [entry.action for entry in world.ledger.audit_trail("desk")].count("canary") == 1


def test_a_person_may_end_it(canary):
    world, runner, run = canary
    promote(world.registry, world.ledger, "desk", "2", actor="person")
    assert world.ledger.canaries.all() == {}, "at once"
    ended, _ = _end(world, runner, run)
    assert ended.state is RunState.PROMOTED
    assert "by hand during its canary" in ended.reason
    assert rollback(world.registry, world.ledger, "desk", actor="person") == ("2", "1")


def test_another_champion_ends_it(canary):
    world, runner, run = canary
    folder = world.settings.state / "runs" / run.id / "champion"
    version = world.registry.register("desk", folder, {})
    world.registry.set_alias("desk", "champion", version)
    ended, result = _end(world, runner, run)
    assert (ended.state, result.ended) == (RunState.REFUSED, "replaced")
    assert "version 3 became champion during its canary" in ended.reason
