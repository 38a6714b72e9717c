"""The record that a request becomes: the short way of writing it says what the long way says."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from core.ids import Minter
from core.privacy import Privacy
from core.records import Answerer, Reason, StudentAnswer, Usage
from core.settings import PrivacySettings, TaskSettings
from router.call import Call
from router.dialects import Request
from router.sampling import Sample
from router.tasks import Task
from router.upstream import teacher_upstream

SETTINGS = TaskSettings.model_validate(
    {"labels": ["a", "b"], "teacher": {"base_url": "http://127.0.0.1:1/v1", "model": "m"}}
)
TASK = Task("desk", SETTINGS, teacher_upstream(SETTINGS.teacher), Privacy(PrivacySettings(), b""))


@given(
    text=st.text(),
    label=st.sampled_from(["a", "b", "A.", "none of them"]),
    user=st.text(max_size=5),
    request_id=st.sampled_from([None, b"mine"]),
    stream=st.booleans(),
    tokens=st.integers(0, 9),
    sample=st.builds(Sample, st.floats(0, 1), st.booleans()),
    canary=st.sampled_from(["", "7"]),
)
def test_both_ways_to_record_a_students_answer_agree(text, label, user, request_id, stream, tokens, sample, canary):
    call = Call([] if request_id is None else [(b"x-request-id", request_id)], Minter())
    call.text, call.stored = text, TASK.privacy.text(text)
    call.answer = StudentAnswer("3", label, 0.9, "x", b"12", b"34")
    call.reason, call.version, call.template = Reason.CHAMPION, "3", "default@1"
    call.sample, call.canary = sample, canary
    request, usage = Request("desk", [("user", text)], stream=stream, user=user), Usage(tokens, 1)
    short = call.student_exchange(TASK, request, b"{}", label, usage)
    long = call.exchange(TASK, request, b"{}", answered_by=Answerer.STUDENT, model="desk", output=label, usage=usage)
    assert msgspec.structs.replace(short, total_ms=0) == msgspec.structs.replace(long, total_ms=0)
