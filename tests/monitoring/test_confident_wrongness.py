"""Confident wrongness: rates by judge and confidence, the alarm, the queue, and the red-team list."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from core.archive import Archive, Row
from core.ids import mint
from core.journal import Journal
from core.labels import pack_floats
from core.lease import Leases
from core.ledger import Move, ReviewState, Right, Severity, Why
from core.records import Answerer, Comparison, Exchange, Outcome, Reason, StudentAnswer
from monitoring.alarms import Reviewer
from monitoring.causes.confident_wrongness import ConfidentWrongnessRose
from monitoring.confident_wrongness import Judge, Rates, Who, teacher_confidence, wrong
from monitoring.forgetting import Forgetting
from monitoring.metrics import Metrics
from monitoring.reader import TaskReader
from monitoring.red_team import draw, find_pool
from monitoring.review_queue import ReviewQueue, red_team_rates
from monitoring.rules import rules_of
from monitoring.signals import WRONGNESS
from monitoring.state import TaskState
from tests.support.monitoring_world import LABELS, NOON, task_settings

RULES = rules_of(task_settings())


def distribution(label: str, confidence: float) -> bytes:
    rest = (1 - confidence) / (len(LABELS) - 1)
    return pack_floats([confidence if name == label else rest for name in LABELS])


def comparison(
    student: str = "c0",
    teacher: str | None = "c0",
    *,
    sure: float = 0.97,
    teacher_sure: float | None = 0.97,
    probability: float = 1.0,
    **values,
) -> Comparison:
    answer = StudentAnswer("1", student, sure, "set", b"dd")
    given = {"text": "where is it", "teacher_distribution": b""} | values
    if teacher is not None and teacher_sure is not None:
        given["teacher_distribution"] = distribution(teacher, teacher_sure)
    return Comparison(
        mint("cmp"),
        "desk",
        given.pop("exchange", None) or mint(),
        NOON,
        NOON + 1,
        Outcome.ANSWERED if teacher is not None else Outcome.REFUSED,
        probability,
        Answerer.STUDENT,
        answer,
        teacher,
        **given,
    )


def watched(*seen: Comparison, rules=RULES) -> TaskState:
    state = TaskState("desk", champion="1")
    state.begin("1", rules, {})
    for one in seen:
        state.observe(one, rules)
    return state


def rates(state: TaskState, who: Who, judge: Judge = Judge.COMPARISON):
    return {
        level: (mean.count, mean.estimate)
        for level, mean in state.versions["1"].wrongness.rates(who, judge, RULES).levels.items()
    }


def test_each_confidence_counts_what_is_at_least_as_sure():
    state = watched(
        comparison(sure=0.995),
        comparison(teacher="c1", sure=0.95),
        comparison(teacher="c1", sure=0.85, teacher_sure=0.6),
        comparison(teacher="c1", sure=0.7, teacher_sure=None),
        comparison(teacher=None, sure=0.99),
    )
    assert rates(state, Who.STUDENT) == {0.8: (3, 1 / 3), 0.9: (2, 0.5), 0.95: (2, 0.5), 0.99: (1, 1.0)}
    assert rates(state, Who.TEACHER) == {0.8: (2, 0.5), 0.9: (2, 0.5), 0.95: (2, 0.5)}
    wrongness = state.versions["1"].wrongness
    assert {label: mean.count for label, mean in wrongness.student.classes.items()} == {"c0": 2}
    assert set(wrongness.teacher.classes) == {"c0", "c1"}
    copy = msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=TaskState)
    assert copy == state


def test_rates_are_weighted_and_have_limits():
    seen = [
        one
        for i in range(400)
        for one in (comparison(teacher="c1" if i % 10 == 0 else "c0", probability=0.1), comparison(probability=1.0))
    ]
    state = watched(*seen)
    found = wrong(state.versions["1"].wrongness.rates(Who.STUDENT, Judge.COMPARISON, RULES).levels[0.95], 0.05)
    assert found is not None
    assert found.estimate == pytest.approx(40 / (400 + 40), abs=0.005)
    assert 0 < found.lower < found.estimate < found.upper < 0.2
    assert wrong(None, 0.05) is None


def test_what_is_not_the_tasks_distribution_says_nothing():
    assert teacher_confidence(comparison(), RULES) == pytest.approx(0.97, abs=0.001)
    assert teacher_confidence(comparison(teacher_sure=None), RULES) is None
    assert teacher_confidence(comparison(teacher="c0", teacher_sure=None, teacher_distribution=b"abcd"), RULES) is None
    strange = comparison(teacher="gone", teacher_sure=None, teacher_distribution=distribution("c0", 0.9))
    assert teacher_confidence(strange, RULES) is None


def test_feedback_is_another_judge():
    state = watched(comparison())
    wrongness = state.versions["1"].wrongness
    wrongness.judged(Who.STUDENT, False, 0.96, "c0", RULES)
    wrongness.judged(Who.TEACHER, True, 0.85, "unheard of", RULES)
    assert rates(state, Who.STUDENT, Judge.FEEDBACK) == {0.8: (1, 0.0), 0.9: (1, 0.0), 0.95: (1, 0.0)}
    assert rates(state, Who.TEACHER, Judge.FEEDBACK) == {0.8: (1, 1.0)}
    assert rates(state, Who.STUDENT)[0.95] == (1, 1.0)


def test_another_level_begins_anew():
    state = watched(*[comparison() for _ in range(40)])
    before = state.versions["1"].wrongness
    assert (before.level, before.recent.whole.count) == (0.9, 40)
    other = rules_of(task_settings(confident_alarm_from=0.95))
    state.observe(comparison(), other)
    after = state.versions["1"].wrongness
    assert (after.level, after.recent.whole.count, after.detector.count) == (0.95, 1, 1)
    assert rates(state, Who.STUDENT)[0.95] == (41, 1.0)


class Watch:
    """Comparisons in, alarms out. `run` stops where an alarm is opened or closed, and says after how many."""

    def __init__(self, ledger, **settings):
        task = task_settings(**settings)
        self.rules, self.ledger = rules_of(task), ledger
        self.reviewer = Reviewer("desk", ledger, self.rules, task.watch, [ConfidentWrongnessRose(task.watch)])
        self.state, self.rng, self.now = watched(rules=self.rules), random.Random(0), NOON

    def run(self, count: int, share: float, *, label: str | None = None, sure: float = 0.96) -> int:
        for number in range(1, count + 1):
            student = label or self.rng.choice(LABELS)
            teacher = "c7" if student != "c7" else "c6"
            agrees = self.rng.random() >= share
            self.state.observe(comparison(student, student if agrees else teacher, sure=sure), self.rules)
            self.now += 1
            if number % 20 == 0:
                before = set(self.reviewer.open)
                self.reviewer.review(self.state, self.now)
                if self.reviewer.open.keys() != before:
                    return number
        return 0


def test_sure_answers_that_go_wrong_raise_an_alarm_that_only_warns(ledger):
    watch = Watch(ledger, cooldown_minutes=0.0)
    assert watch.run(1500, 0.02) == 0
    assert watch.run(500, 0.5, sure=0.7) == 0  # nobody was sure of these
    after = watch.run(600, 0.3, label="c2")
    assert 0 < after <= 200
    (alarm,) = ledger.alarms.open("desk")
    assert (alarm.cause, alarm.severity, alarm.retrain) == (WRONGNESS, Severity.WARNING, False)
    assert alarm.labels == ("c2",)
    assert alarm.first_exchange.startswith("ex_")
    assert alarm.evidence["baseline"] > 0.93
    assert alarm.evidence["sure_agreement"]["estimate"] < alarm.evidence["baseline"]
    assert "tutelage review" in alarm.evidence["what"]
    assert "1.0 %" in alarm.evidence["sure"]
    assert all(example["confidence"] >= 0.9 for example in alarm.evidence["examples"])
    assert ledger.trust("desk", "1") == {}
    assert watch.run(800, 0.0) > 200
    assert watch.reviewer.open == {}
    assert ledger.alarms.get(alarm.id).note == "the sure answers agree with the teacher as often as before again"


def test_the_worst_disagreements_wait_for_a_person(ledger):
    rules = rules_of(task_settings(review_queue=3))
    seen = [comparison(teacher="c1", sure=0.8 + i / 100, cluster=f"k{i}") for i in range(10)]
    seen += [comparison("c5", "c1", sure=0.81, cluster="other"), comparison(teacher="c1", sure=0.5)]
    seen += [comparison(teacher="c1", sure=0.99, text=None)]  # forgotten meanwhile
    state, queue = watched(*seen, rules=rules), ReviewQueue("desk", ledger, rules)
    assert len(state.versions["1"].wrongness.waiting) == 11
    queue.fill(state, NOON)
    assert state.versions["1"].wrongness.waiting == []
    found = ledger.reviews.find("desk")
    assert [(one.student, round(one.confidence, 2)) for one in found] == [("c0", 0.89), ("c0", 0.88), ("c5", 0.81)]
    assert {(one.teacher, one.text, one.version) for one in found} == {("c1", "where is it", "1")}
    assert queue.counts == {(Why.DISAGREEMENT, ReviewState.NEW, None): 3}
    queue.fill(watched(*seen, rules=rules), NOON + 1)  # the same again, as after a crash
    assert len(ledger.reviews.find("desk")) == 3


def test_what_waits_is_bounded_without_a_ledger_and_none_is_kept_where_none_is_wanted():
    state = watched(*[comparison(teacher="c1", sure=0.8 + i / 10_000) for i in range(500)])
    waiting = state.versions["1"].wrongness.waiting
    assert 64 <= len(waiting) <= 128
    assert max(one.confidence for one in waiting) == pytest.approx(0.8499)
    assert (
        watched(comparison(teacher="c1"), rules=rules_of(task_settings(review_queue=0))).versions["1"].wrongness.waiting
        == []
    )


def test_texts_that_may_not_be_kept_are_not():
    rules = replace(RULES, keep_text=False)
    (one,) = watched(comparison(teacher="c1"), rules=rules).versions["1"].wrongness.waiting
    assert one.text == ""


def test_what_must_go_leaves_the_state_and_the_queue(ledger):
    seen = [comparison(teacher="c1", cluster=f"k{i}", text=f"secret {i}") for i in range(3)]
    state, queue = watched(*seen[:2]), ReviewQueue("desk", ledger, RULES)
    queue.fill(state, NOON)
    state.observe(seen[2], RULES)
    forgetting = Forgetting("desk", ledger, None)
    ledger.forgotten.add(exchanges=[seen[0].exchange, seen[2].exchange])
    assert forgetting.is_due(NOON)
    assert forgetting.forget(state, NOON) == 4  # two examples, one that waited, one in the queue
    assert state.versions["1"].wrongness.waiting == []
    assert [one.exchange for one in ledger.reviews.find("desk")] == [seen[1].exchange]
    assert Forgetting("desk", ledger, 1).forget(state, NOON + 1e9) == 2
    assert ledger.reviews.find("desk") == []


@pytest.fixture
def archive(tmp_path, ledger) -> Archive:
    return Archive(str(tmp_path / "archive"), ledger)


def store(archive: Archive, *records) -> None:
    for kind, chosen in (("comparisons", Comparison), ("exchanges", Exchange)):
        rows = [Row("log_a", i + 1, one) for i, one in enumerate(records) if isinstance(one, chosen)]
        stream = f"tutelage:desk:{kind}"
        if rows:
            assert archive.append(stream, rows, [Move(stream, "log_a", 0, rows[-1].offset)], 10_000)


def test_the_red_team_list_holds_sure_answers_that_nobody_disputes(ledger, archive):
    agreed = [comparison(text=f"word{'x' * i}", cluster=f"k{i}") for i in range(6)]
    day_zero = Exchange(
        mint(),
        "desk",
        NOON,
        Answerer.TEACHER,
        Reason.NO_STUDENT,
        200,
        text="alone",
        label="c3",
        teacher_distribution=distribution("c3", 0.99),
    )
    others = [
        comparison(text="again", cluster="k0"),
        comparison("c0", "c1", text="disputed", cluster="d"),
        comparison("c4", "c4", text="unsure", teacher_sure=0.85, cluster="u"),
        comparison("c4", "c4", text="a vote", teacher_sure=None, cluster="v"),
        comparison("c4", "c4", text=None, cluster=""),
    ]
    store(archive, *agreed, *others, day_zero)
    pool = find_pool(archive, ledger, "desk", RULES, 0.9, NOON)
    assert {label: len(entries) for label, entries in pool.classes.items()} == {"c0": 6, "c3": 1}
    assert pool.answers == 9
    drawn = draw(pool, 2, random.Random(1))
    assert sorted((one.teacher, round(one.probability, 3)) for one in drawn) == [("c0", 0.333)] * 2 + [("c3", 1.0)]
    assert {one.why for one in drawn} == {Why.RED_TEAM}
    assert next(one for one in drawn if one.teacher == "c3").student == ""
    assert ledger.reviews.add(drawn) == 3
    assert len(find_pool(archive, ledger, "desk", RULES, 0.9, NOON).classes["c0"]) == 4


def test_the_rate_of_a_red_team_is_that_of_all_sure_answers(ledger, archive):
    """10 of 1000 answers of a large class are wrong, and all 20 of a small one: 30 of 1020 in all."""
    large = [comparison(cluster=f"a{i}", text=f"a {i}") for i in range(1000)]
    small = [comparison("c1", "c1", cluster=f"b{i}", text=f"b {i}") for i in range(20)]
    truth = {one.exchange: "c2" for one in [*large[:10], *small]}
    store(archive, *large, *small)
    rng, estimates = random.Random(0), []
    pool = find_pool(archive, ledger, "desk", RULES, 0.9, NOON)
    for _ in range(400):
        judged = []
        for number, one in enumerate(sorted(draw(pool, 20, rng), key=lambda one: one.exchange)):
            verdict = truth.get(one.exchange, one.teacher)
            right, state = one.who_is_right(verdict), ReviewState.JUDGED
            judged.append(replace(one, state=state, verdict=verdict, right=right, judged=NOON + 1, sequence=number))
        found = red_team_rates(judged, RULES)
        assert set(found.levels) == {0.9, 0.95}  # nothing was drawn from all answers of 0.8 and more
        rate = wrong(found.levels[0.95], 0.05)
        assert rate is not None
        assert rate.lower <= 30 / 1020 <= rate.upper
        estimates.append(rate.estimate)
    assert sum(estimates) / 400 == pytest.approx(30 / 1020, abs=0.003)
    assert red_team_rates([], RULES).levels == {}


def test_the_queue_counts_verdicts(ledger, archive):
    store(archive, *[comparison(cluster=f"a{i}", text=f"a {i}") for i in range(4)])
    ledger.reviews.add(draw(find_pool(archive, ledger, "desk", RULES, 0.8, NOON), 4, random.Random(0)))
    queue, state = ReviewQueue("desk", ledger, RULES), watched(comparison())
    queue.fill(state, NOON)
    assert queue.rates(Who.TEACHER, Judge.RED_TEAM, state).levels == {}
    for number, one in enumerate(ledger.reviews.find("desk", Why.RED_TEAM)):
        ledger.reviews.judge(one.id, "c0" if number else "c5", actor="cli:jo", at=NOON + number)
    queue.fill(state, NOON)
    assert queue.counts == {
        (Why.RED_TEAM, ReviewState.JUDGED, Right.NEITHER): 1,
        (Why.RED_TEAM, ReviewState.JUDGED, Right.BOTH): 3,
    }
    sure = queue.rates(Who.TEACHER, Judge.RED_TEAM, state)
    assert math.isclose(sure.levels[0.8].estimate or 0, 0.75)
    assert queue.rates(Who.STUDENT, Judge.RED_TEAM, state) == Rates()
    assert queue.rates(Who.STUDENT, Judge.COMPARISON, TaskState("desk")) == Rates()


def test_metrics_say_whose_answers_by_which_judge(ledger):
    nowhere = "redis://127.0.0.1:9/0"
    reader = TaskReader(
        "desk", task_settings(), Journal.connect(nowhere), Leases(nowhere), ledger, snapshot_seconds=1.0
    )
    reader.intake.state = watched(*[comparison(teacher="c1" if i % 4 == 0 else "c0") for i in range(100)])
    reader.reviews.fill(reader.state, NOON)
    metrics = Metrics([reader])
    metrics.draw()
    found = {family.name: family for family in text_string_to_metric_families(metrics.text.decode())}

    def values(name: str, *labels: str):
        samples = found[f"tutelage_monitor_{name}"].samples
        return {tuple(sample.labels[label] for label in labels): sample.value for sample in samples}

    rates = values("confident_wrong", "who", "judge", "confidence")
    assert rates["student", "comparison", "0.95"] == pytest.approx(0.25)
    assert set(rates) == {
        (who, "comparison", level) for who in ("student", "teacher") for level in ("0.8", "0.9", "0.95")
    }
    lower, upper = (
        values(f"confident_wrong_{end}", "who", "judge", "confidence")["student", "comparison", "0.95"]
        for end in ("lower", "upper")
    )
    assert 0.05 < lower < 0.25 < upper < 0.7
    assert values("confident_answers", "who", "confidence")["student", "0.9"] == 100
    assert values("confident_wrong_class", "who", "class")["student", "c0"] == pytest.approx(0.25)
    assert values("reviews", "why", "state")["disagreement", "new"] == 25
    assert len(values("review_verdicts", "why", "right")) == len(Why) * len(Right)
    assert values("detector", "signal")[WRONGNESS,] < values("detector_limit", "signal")[WRONGNESS,]
