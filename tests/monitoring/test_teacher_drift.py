"""A teacher that changes under one's feet is called changed; one that is only noisy is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from core.ledger import GoldenExample, GoldenSet, Ledger
from monitoring.alarms import Reviewer
from monitoring.golden import GoldenWatch, TeacherWatch
from monitoring.rules import rules_of
from monitoring.signals import TEACHER
from monitoring.state import TaskState
from tests.support.monitoring_world import LABELS, NOON, World, task_settings, trust_rows

DAY = 86_400.0
SIZE = 100


class Days:
    """A ledger in which a round is asked every day, and a monitor that looks every day."""

    def __init__(self, ledger: Ledger, noise: float = 0.0, truth: bool = False, **watch) -> None:
        self.ledger, self.noise, self.now = ledger, noise, NOON
        self.rng = np.random.default_rng(5)
        settings = task_settings(**watch)
        self.rules = rules_of(settings)
        self.reviewer = Reviewer("desk", ledger, self.rules, settings.watch)
        self.settings = settings
        self.state = TaskState("desk")
        self.state.begin("1", self.rules, {row.label: row for row in trust_rows()})
        self.state.champion = "1"
        self.answers = {n: LABELS[n % 4] for n in range(SIZE)}
        examples = [
            GoldenExample(n, f"text {n}", self.answers[n] if truth else "", "" if truth else f"ex_{n}")
            for n in range(SIZE)
        ]
        ledger.golden.freeze(GoldenSet("desk", 1, "files" if truth else "traffic", "t", "", NOON), examples)

    def ask(self, days: int = 1) -> None:
        golden = self.ledger.golden
        for _ in range(days):
            self.now += DAY
            begun = golden.begin_round("desk", 1, "worker", self.now)
            assert begun is not None
            answers = {
                n: str(self.rng.choice(LABELS)) if self.rng.random() < self.noise else label
                for n, label in self.answers.items()
            }
            golden.save_round(replace(begun, answers=answers, finished=self.now + 60))
            self.review()

    def review(self) -> None:
        self.now += 60
        self.reviewer.review(self.state, self.now)

    def change(self, count: int) -> None:
        for n in range(count):
            self.answers[n] = "c7"

    @property
    def alarm(self):
        return next((one for one in self.ledger.alarms.open("desk") if one.cause == TEACHER), None)


def test_an_unchanged_teacher_raises_nothing_however_noisy(ledger):
    days = Days(ledger, noise=0.3)
    days.ask(30)
    assert days.alarm is None
    assert days.state.golden.agreement == pytest.approx(0.5, abs=0.2)
    assert days.state.golden.round == 29


def test_a_changed_teacher_is_told_with_examples_and_never_retrains(ledger):
    days = Days(ledger, noise=0.05)
    days.ask(8)
    days.change(30)
    days.ask(2)
    alarm = days.alarm
    assert alarm is not None
    assert not alarm.retrain
    told = alarm.evidence
    assert told["agreement_with_first"] < 0.8 < told["usual_agreement_with_first"]
    assert told["p_value"] <= told["allowed"]
    assert told["since_round"] >= 7
    assert len(told["examples"]) == 5
    assert told["examples"][0]["exchange"] == "ex_0"
    assert told["examples"][0]["text"] == "text 0"
    assert "The teacher has changed" in told["what"]
    ledger.alarms.drop_examples(lambda exchange: exchange == "ex_0", "desk")
    assert "text 0" not in str(days.alarm.evidence)


def test_labels_say_whether_it_got_better(ledger):
    days = Days(ledger, truth=True)
    days.ask(6)
    days.change(20)
    days.ask(1)
    told = days.alarm.evidence
    assert (told["first_truth"], told["truth"]) == (1.0, 0.8)
    assert "at first 100.0 %" in told["what"]


def test_a_teacher_that_comes_back_closes_it(ledger):
    days = Days(ledger)
    days.ask(6)
    before = dict(days.answers)
    days.change(20)
    days.ask(2)
    assert days.alarm is not None
    days.answers = before
    days.ask(1)
    assert days.alarm is not None, "once is not enough"
    days.ask(1)
    assert days.alarm is None
    days.ask(6)
    assert days.alarm is None


def test_closing_it_accepts_the_teacher_as_it_is(ledger):
    days = Days(ledger, cooldown_minutes=0)
    days.ask(6)
    days.change(20)
    days.ask(1)
    ledger.alarms.resolve(days.alarm.id, "we changed it ourselves", days.now)
    days.review()
    days.ask(5)
    assert days.alarm is None
    assert days.state.golden.agreement == 1.0
    assert ledger.golden.newest("desk").baseline == 6
    days.change(50)
    days.ask(1)
    assert days.alarm is not None, "and the next change is seen as well"


def test_a_monitor_that_was_away_comes_to_the_same(ledger):
    days = Days(ledger, noise=0.05)
    days.ask(8)
    days.change(25)
    days.ask(3)
    watch = TeacherWatch("desk", ledger, days.settings.watch)
    assert watch.look(GoldenWatch(), days.now) == days.state.golden
    assert watch.look(days.state.golden, days.now + 60) is days.state.golden


def test_a_set_without_rounds_and_no_set_say_nothing(ledger):
    watch = TeacherWatch("desk", ledger, task_settings().watch)
    assert watch.look(GoldenWatch(), NOON) == GoldenWatch()
    days = Days(ledger)
    days.review()
    assert days.state.golden.agreement is None
    days.ask(1)
    assert (days.state.golden.agreement, days.state.golden.answers) == (None, SIZE)


def test_alarms_about_agreement_say_what_is_known_of_the_teacher(ledger):
    days = Days(ledger)
    days.ask(6)
    days.change(20)
    days.ask(1)
    world = World()
    ledger.set_trust("desk", "1", trust_rows())
    for number in range(1500):
        if number == 1000:
            world.agreement = dict.fromkeys(LABELS, 0.3)
        exchange, comparison = world.pair(drawn=True)
        days.state.observe_exchange(exchange, days.rules)
        days.state.observe(comparison, days.rules)
    days.review()
    told = [one.evidence for one in ledger.alarms.open("desk") if "student_agreement" in one.evidence]
    assert told
    for evidence in told:
        assert evidence["teacher_changed"]["since_round"] == 6
        assert evidence["noise_ceiling"]["attainable"] == 1.0
