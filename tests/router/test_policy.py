from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.records import Reason, StudentAnswer
from router.policy import Action, Facts, decide

ANSWER = StudentAnswer(version="3", label="refund_status", confidence=0.9, label_set="x")
GOOD = Facts(
    readable=True, champion="3", student_up=True, trusted={"3": frozenset({"refund_status"})}, min_confidence=0.5
)

facts = st.builds(
    Facts,
    readable=st.booleans(),
    champion=st.sampled_from([None, "3"]),
    student_up=st.booleans(),
    trusted=st.sampled_from([{}, {"3": frozenset({"refund_status"})}, {"2": frozenset({"refund_status"})}]),
    min_confidence=st.floats(0, 1),
    force_teacher=st.booleans(),
    answer=st.sampled_from([None, ANSWER, StudentAnswer("3", "praise", 0.9, "x")]),
    student_failed=st.booleans(),
)


@pytest.mark.parametrize(
    ("changes", "action", "reason"),
    [
        ({}, Action.ASK_STUDENT, Reason.CHAMPION),
        ({"force_teacher": True}, Action.ASK_TEACHER, Reason.FORCED),
        ({"readable": False}, Action.ASK_TEACHER, Reason.TEMPLATE_MISMATCH),
        ({"champion": None}, Action.ASK_TEACHER, Reason.NO_STUDENT),
        ({"student_up": False}, Action.ASK_TEACHER, Reason.STUDENT_UNAVAILABLE),
        ({"student_up": False, "champion": None}, Action.ASK_TEACHER, Reason.STUDENT_UNAVAILABLE),
        ({"student_failed": True}, Action.ASK_TEACHER, Reason.RETRY_FALLBACK),
        ({"answer": ANSWER}, Action.ANSWER_BY_STUDENT, Reason.CHAMPION),
        ({"answer": ANSWER, "trusted": {}}, Action.ASK_TEACHER, Reason.NOT_TRUSTED),
        ({"answer": ANSWER, "trusted": {"2": frozenset({"refund_status"})}}, Action.ASK_TEACHER, Reason.NOT_TRUSTED),
        ({"answer": ANSWER, "min_confidence": 0.95}, Action.ASK_TEACHER, Reason.LOW_CONFIDENCE),
    ],
)
def test_each_reason_has_its_case(changes, action, reason):
    decision = decide(replace(GOOD, **changes))
    assert (decision.action, decision.reason) == (action, reason)


@given(facts)
def test_the_student_answers_only_what_it_may(given_facts):
    decision = decide(given_facts)
    if decision.action is Action.ANSWER_BY_STUDENT:
        answer = given_facts.answer
        assert answer is not None
        assert answer.label in given_facts.trusted[answer.version]
        assert answer.confidence >= given_facts.min_confidence
        assert given_facts.readable
        assert not given_facts.force_teacher
    if decision.action is Action.ASK_STUDENT:
        assert given_facts.answer is None
        assert given_facts.champion is not None
