"""Feedback in the state: what counts, what corrects, what is missing; and what alarms are made of it."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.ids import mint
from core.labels import pack_floats
from core.records import Answerer, Exchange, Feedback
from monitoring.alarms import Reviewer
from monitoring.causes.calibration import Overconfidence
from monitoring.causes.feedback import FeedbackAccuracy
from monitoring.feedback.accuracy import Whose
from monitoring.feedback.answered import Answered, RecentAnswers, answered_of
from monitoring.feedback.exposure import Dimension
from monitoring.feedback.state import FeedbackOutcome, FeedbackState, Pending
from monitoring.rules import Rules, rules_of
from monitoring.state import TaskState
from monitoring.statistics.classification import Classification
from tests.support.monitoring_world import LABELS, NOON, World, task_settings

RULES = rules_of(task_settings())


def feedback(exchange: str, label: str, at: float, *, name: str = "", source: str = "client") -> Feedback:
    return Feedback(name or mint("fb"), "desk", exchange, label, at, source=source)


def tell(state: FeedbackState, given_: Feedback, answered: Answered, *, before: bool = False) -> FeedbackOutcome:
    state.take(given_)
    return state.settle(state.waiting[given_.id], answered, before, RULES)


def answer(name: str, label: str, *, by: Answerer = Answerer.STUDENT, version: str = "1", **other: Any) -> Answered:
    values: dict[str, Any] = {"student_label": label, "confidence": 0.9} | other
    return Answered(name, NOON, by, label, version, **values)


moves = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from(LABELS), st.integers(0, 20), st.booleans()), min_size=1, max_size=40
)


@settings(max_examples=150, deadline=None)
@given(moves, st.booleans())
def test_the_last_of_several_counts_and_each_exchange_once(given_, stored):
    """Whatever the order in which it comes, and whether or not the state is stored in between."""
    answers = {
        i: answer(f"ex_{i}", LABELS[i % 3], by=Answerer.STUDENT if i % 2 else Answerer.TEACHER, student_label=LABELS[1])
        for i in range(6)
    }
    state, last = FeedbackState(), dict[int, tuple[int, str]]()
    for number, (i, label, at, reviewed) in enumerate(given_):
        source = "review" if reviewed else "client"
        tell(state, feedback(f"ex_{i}", label, float(at), name=f"fb_{number}", source=source), answers[i])
        if (i in last and at >= last[i][0]) or (i not in last and not reviewed):
            last[i] = at, label
        if stored:
            state = msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=FeedbackState)
    direct = {whose: Classification() for whose in Whose}
    for i, (_, label) in last.items():
        if i % 2:
            direct[Whose.STUDENT].add(label, answers[i].label)
        else:
            direct[Whose.TEACHER].add(label, answers[i].label)
            direct[Whose.WITHHELD].add(label, LABELS[1])
    assert sum(state.outcomes.values()) == len(given_)
    assert state.outcomes.get(FeedbackOutcome.COUNTED, 0) == len(last)
    if not last:
        return
    version = state.versions["1"]
    for whose, counts in direct.items():
        found = version.of(whose)
        assert (found.counts.total, found.counts.correct) == (counts.total, counts.correct)
        assert found.counts.pairs == counts.pairs
        assert (found.recent.total, found.recent.right) == (counts.total, counts.correct)


def test_recent_answers_are_corrected_only_where_they_are_in():
    state, size = FeedbackState(), RULES.recent_comparisons
    for i in range(2 * size + 5):
        tell(state, feedback(f"ex_{i}", LABELS[0], 1.0), answer(f"ex_{i}", LABELS[0]))
    answers = state.versions["1"].student
    assert (answers.recent.right, answers.recent.total, answers.recent.after) == (size + 5, size + 5, size)
    assert tell(state, feedback("ex_3", LABELS[1], 2.0), answer("ex_3", LABELS[0])) is FeedbackOutcome.CORRECTED
    assert (answers.recent.right, answers.counts.correct) == (size + 5, 2 * size + 4)
    name = f"ex_{2 * size}"
    assert tell(state, feedback(name, LABELS[1], 2.0), answer(name, LABELS[0])) is FeedbackOutcome.CORRECTED
    assert (answers.recent.right, answers.next.right, answers.counts.correct) == (size + 4, 4, 2 * size + 3)


def test_what_does_not_count_is_counted_by_why():
    state = FeedbackState()
    told = {
        FeedbackOutcome.REVIEWED: tell(state, feedback("a", LABELS[0], 1, source="review"), answer("a", LABELS[0])),
        FeedbackOutcome.LATE: tell(state, feedback("b", LABELS[0], 1), answer("b", LABELS[0]), before=True),
        FeedbackOutcome.UNANSWERED: tell(state, feedback("c", LABELS[0], 1), answer("c", "", by=Answerer.NOBODY)),
        FeedbackOutcome.COUNTED: tell(state, feedback("d", "no such label", 1), answer("d", LABELS[0])),
    }
    assert all(name is found for name, found in told.items())
    assert state.outcomes == dict.fromkeys(told, 1)
    assert state.versions["1"].student.counts.truth == {"other": 1}


def test_versions_are_bounded_and_those_that_answer_stay(world: World):
    state = FeedbackState()
    for i in range(12):
        exchange = answered_exchange(world, version=str(i), at=NOON + i)
        state.answered(exchange, RULES)
        tell(state, feedback(exchange.id, LABELS[0], 1.0), answered_of(exchange, RULES))
    assert list(state.versions) == [str(i) for i in range(6, 12)]
    assert len(state.young) == 6
    assert tell(state, feedback("x", LABELS[0], 1.0), answer("x", LABELS[0], version="0")) is FeedbackOutcome.OUTDATED


def answered_exchange(
    world: World, *, version: str = "1", at: float = NOON, label: str | None = None, **other: Any
) -> Exchange:
    world.version = version
    exchange, _ = world.pair(drawn=False, label=label)
    return msgspec.structs.replace(exchange, at=at, **other)


def test_waiting_is_bounded_and_given_up_in_time():
    state = FeedbackState()
    for i in range(5000):
        state.take(feedback(f"ex_{i}", LABELS[0], 100.0))
    assert state.is_full
    first, *_, last = state.waiting.values()
    state.miss(first, 100.0, 100.0, 3600.0)  # there is no room: it gives way
    assert not state.is_full
    pauses = []
    for _ in range(20):
        now = max(last.due, 100.0)
        state.miss(last, now, now, 3600.0)
        if last.id not in state.waiting:
            break
        pauses.append(last.due - now)
    assert pauses == sorted(pauses)
    assert pauses[0] == 2.0
    assert pauses[-1] == 600.0
    assert state.outcomes == {FeedbackOutcome.UNMATCHED: 2}
    assert sum(pauses) >= 3600.0


def test_forgotten_exchanges_wait_no_more():
    state = FeedbackState()
    for name in ("ex_1", "ex_2"):
        state.take(feedback(name, LABELS[0], 1.0))
    assert state.forget(lambda name: name == "ex_1") == 1
    assert [pending.exchange for pending in state.waiting.values()] == ["ex_2"]


def test_what_was_answered_lately_is_found_once_by_either_name(world: World):
    recent = RecentAnswers(size=10)
    exchanges = [answered_exchange(world, completion_id=f"chatcmpl-{i}") for i in range(15)]
    for exchange in exchanges:
        recent.add(exchange, RULES)
    assert recent.take("chatcmpl-12") == answered_of(exchanges[12], RULES)
    assert recent.take(exchanges[12].id) is None
    assert recent.take(exchanges[3].id) == answered_of(exchanges[3], RULES)
    assert recent.take("chatcmpl-3") is None
    for exchange in [answered_exchange(world) for _ in range(20)]:
        recent.add(exchange, RULES)
    assert recent.take(exchanges[5].id) is None


def test_the_teachers_confidence_is_read_from_its_distribution(world: World):
    spread = pack_floats([0.5 if name == LABELS[2] else 0.5 / 7 for name in LABELS])
    exchange = answered_exchange(
        world, answered_by=Answerer.TEACHER, label=LABELS[2], teacher_distribution=spread, student=None
    )
    answered = answered_of(exchange, RULES)
    assert (answered.teacher_confidence, answered.version, answered.label) == (0.5, "", LABELS[2])
    assert answered_of(msgspec.structs.replace(exchange, label=None), RULES).teacher_confidence is None


def expose(state: FeedbackState, world: World, share, count: int) -> None:
    """Answered exchanges, of which those get feedback that `share` says."""
    for _ in range(count):
        exchange = answered_exchange(world, at=NOON + next(world.clock))
        state.answered(exchange, RULES)
        if world.rng.random() < share(exchange):
            tell(state, feedback(exchange.id, exchange.label or "", exchange.at), answered_of(exchange, RULES))
    state.look()


def test_feedback_that_comes_evenly_is_not_called_uneven(world: World):
    state = FeedbackState()
    for _ in range(30):
        expose(state, world, lambda _: 0.2, 200)
    exposure = state.versions["1"].exposure
    assert exposure.looks >= 4
    assert set(exposure.found) == set(Dimension)
    assert not [name for name, found in exposure.found.items() if found.uneven]
    assert exposure.share(Dimension.ANSWERED_BY, "student") == pytest.approx(0.2, abs=0.02)
    assert exposure.share(Dimension.ANSWERED_BY, "teacher") is None


def test_a_class_that_gets_more_feedback_is_said(world: World):
    state = FeedbackState()
    for _ in range(10):
        expose(state, world, lambda exchange: 0.5 if exchange.label == LABELS[0] else 0.1, 300)
    found = state.versions["1"].exposure.found
    assert [name for name, one in found.items() if one.uneven] == [Dimension.CLASS]
    assert found[Dimension.CLASS].distance > 0.2


def test_feedback_about_what_came_before_is_in_no_share(world: World):
    state = FeedbackState()
    expose(state, world, lambda _: 0.0, 10)
    tell(state, feedback("old", LABELS[0], NOON), answer("old", LABELS[0], version="1", student_label=LABELS[0]))
    exposure = state.versions["1"].exposure
    assert exposure.known[Dimension.ANSWERED_BY] == {}
    assert state.versions["1"].student.counts.total == 1


def hear(state: TaskState, world: World, rules: Rules, right: float, count: int) -> None:
    for _ in range(count):
        exchange = answered_exchange(world, at=NOON + next(world.clock))
        version = state.unknown_version(exchange)
        if version is not None:
            state.begin(version, rules, {})
        state.observe_exchange(exchange, rules)
        label = exchange.label or ""
        truth = label if world.rng.random() < right else next(other for other in LABELS if other != label)
        answered = answered_of(exchange, rules)
        state.feedback.take(feedback(exchange.id, truth, exchange.at))
        pending = next(iter(state.feedback.waiting.values()))
        if state.feedback.settle(pending, answered, False, rules) is FeedbackOutcome.COUNTED:
            state.learnt(answered, truth, rules)


def test_accuracy_that_falls_is_an_alarm_and_recovers(ledger, world: World):
    task = task_settings(feedback_false_alarms=0.05)
    rules, state = rules_of(task), TaskState("desk")
    reviewer = Reviewer("desk", ledger, rules, task.watch, [FeedbackAccuracy(task.watch)])
    hear(state, world, rules, 0.95, 1500)
    reviewer.review(state, NOON)
    assert not ledger.alarms.open("desk")
    hear(state, world, rules, 0.6, 300)
    reviewer.review(state, NOON + 1)
    (alarm,) = ledger.alarms.open("desk")
    assert alarm.cause == "feedback_accuracy"
    assert alarm.retrain
    evidence = alarm.evidence
    assert evidence["baseline"] > 0.8
    assert evidence["recent_accuracy"]["estimate"] < evidence["version_accuracy"]["estimate"]
    low, high = evidence["accuracy_if_the_rest_is_wrong_or_right"]
    assert low <= evidence["version_accuracy"]["estimate"] <= high
    assert evidence["confusions"]
    assert evidence["uneven"] == []
    hear(state, world, rules, 0.97, 600)
    reviewer.review(state, NOON + 2)
    assert not ledger.alarms.open("desk")
    assert state.feedback.versions["1"].detector.value == 0.0
    assert state.feedback_freshness.times == 2400
    assert state.watched is not None


def test_overconfidence_is_an_alarm_and_recovers(ledger, world: World):
    task = task_settings(calibration_false_alarms=0.05)
    rules, state = rules_of(task), TaskState("desk")
    reviewer = Reviewer("desk", ledger, rules, task.watch, [Overconfidence(task.watch)])

    def compare(count: int, agreement: float) -> None:
        world.agreement = dict.fromkeys(LABELS, agreement)
        for exchange, comparison in itertools.islice(iter(lambda: world.pair(drawn=True), None), count):
            version = state.unknown_version(exchange)
            if version is not None:
                state.begin(version, rules, {})
            state.observe_exchange(exchange, rules)
            assert comparison is not None
            state.observe(comparison, rules)

    compare(1500, 0.8)  # confidence is uniform between 0.6 and 1
    reviewer.review(state, NOON)
    assert not ledger.alarms.open("desk")
    compare(400, 0.4)
    reviewer.review(state, NOON + 1)
    (alarm,) = ledger.alarms.open("desk")
    assert (alarm.cause, alarm.retrain) == ("calibration", False)
    assert alarm.evidence["excess"] > 0
    assert alarm.evidence["ece"] > alarm.evidence["ece_by_chance"][0]
    assert alarm.evidence["expected_agreement"] == pytest.approx(0.8, abs=0.02)
    assert state.watched is not None
    assert state.watched.expected.overall() == pytest.approx(0.8, abs=0.02)
    compare(400, 0.8)
    reviewer.review(state, NOON + 2)
    assert not ledger.alarms.open("desk")


def test_a_pending_piece_is_stored_as_it_is():
    pending = Pending("fb", "ex", "label", 1.5, True, 3, 2.5, 1.0)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(pending), type=Pending) == pending
