import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.records import Reason, StudentAnswer
from router.policy import Action, Facts, Failure, after_failure, decide, judge

ANSWER = StudentAnswer(version="3", label="refund_status", confidence=0.9, label_set="x")
GOOD = Facts(readable=True, champion="3", student_up=True)
TRUSTED = {"3": frozenset({"refund_status"})}


class Spent:
    def __init__(self, when_spent):
        self.when_spent = when_spent

    def allows(self, reason):
        return False


facts = st.builds(
    Facts,
    readable=st.booleans(),
    champion=st.sampled_from([None, "3"]),
    student_up=st.booleans(),
    answerable=st.booleans(),
    forced=st.booleans(),
    canary=st.booleans(),
)


@pytest.mark.parametrize(
    ("changes", "action", "reason"),
    [
        ({}, Action.ASK_STUDENT, Reason.CHAMPION),
        ({"canary": True}, Action.ASK_STUDENT, Reason.CHALLENGER),
        ({"forced": True}, Action.ASK_TEACHER, Reason.FORCED),
        ({"answerable": False}, Action.ASK_TEACHER, Reason.PASSTHROUGH),
        ({"readable": False}, Action.ASK_TEACHER, Reason.TEMPLATE_MISMATCH),
        ({"champion": None}, Action.ASK_TEACHER, Reason.NO_STUDENT),
        ({"student_up": False}, Action.ASK_TEACHER, Reason.STUDENT_UNAVAILABLE),
        ({"student_up": False, "champion": None}, Action.ASK_TEACHER, Reason.STUDENT_UNAVAILABLE),
    ],
)
def test_each_reason_to_ask_has_its_case(changes, action, reason):
    assert decide(GOOD._replace(**changes)) == (action, reason)


@pytest.mark.parametrize(
    ("trusted", "min_confidence", "canary", "action", "reason"),
    [
        (TRUSTED, 0.5, False, Action.ANSWER_BY_STUDENT, Reason.CHAMPION),
        (TRUSTED, 0.5, True, Action.ANSWER_BY_STUDENT, Reason.CHALLENGER),
        ({}, 0.5, False, Action.ASK_TEACHER, Reason.NOT_TRUSTED),
        ({"2": frozenset({"refund_status"})}, 0.5, False, Action.ASK_TEACHER, Reason.NOT_TRUSTED),
        (TRUSTED, 0.95, False, Action.ASK_TEACHER, Reason.LOW_CONFIDENCE),
    ],
)
def test_each_verdict_on_an_answer_has_its_case(trusted, min_confidence, canary, action, reason):
    assert judge(ANSWER, trusted, min_confidence, canary=canary) == (action, reason)


def test_a_student_that_gave_no_answer_was_late_or_failed():
    assert after_failure(Failure.LATE).reason is Reason.OVER_DEADLINE
    assert after_failure(Failure.BROKEN).reason is Reason.RETRY_FALLBACK
    assert after_failure(Failure.BREAKER_OPEN).reason is Reason.BREAKER_OPEN


def test_a_spent_budget_leaves_what_the_policy_says():
    refused = (Action.REFUSE, Reason.FALLBACK_SPENT)
    assert judge(ANSWER, {}, 0.5, fallback=Spent("student")) == (Action.ANSWER_BY_STUDENT, Reason.FALLBACK_SPENT)
    assert judge(ANSWER, {}, 0.5, fallback=Spent("refuse")) == refused
    assert after_failure(Failure.LATE, Spent("student")) == refused, "there is no answer that could go out"
    assert judge(ANSWER, TRUSTED, 0.5, fallback=Spent("refuse")).action is Action.ANSWER_BY_STUDENT


@given(facts)
def test_the_student_is_asked_only_for_what_it_may_answer(given_facts):
    decision = decide(given_facts)
    if decision.action is Action.ASK_STUDENT:
        assert given_facts.champion is not None
        assert given_facts.readable
        assert given_facts.answerable
        assert given_facts.student_up
        assert not given_facts.forced


@given(st.sampled_from(["refund_status", "praise"]), st.floats(0, 1), st.sampled_from([{}, TRUSTED]))
def test_the_student_answers_only_what_it_is_trusted_with(label, confidence, trusted):
    answer = StudentAnswer("3", label, confidence, "x")
    if judge(answer, trusted, 0.5).action is Action.ANSWER_BY_STUDENT:
        assert label in trusted["3"]
        assert confidence >= 0.5


@given(facts)
def test_a_spent_budget_never_asks_the_teacher(given_facts):
    assert decide(given_facts, Spent("student")).action in (Action.ASK_STUDENT, Action.REFUSE)
