"""The gateway as a client sees it."""

import json
import threading
from contextlib import ExitStack

import httpx
import openai
import pytest

from core.labels import unpack_floats
from core.ledger import Trust
from core.records import Answerer, Reason
from tests.router.conftest import VERSION, run_gateway
from tests.support.students import LABELS


def messages(text):
    return [{"role": "user", "content": text}]


def test_the_student_answers_and_it_is_recorded(gateway):
    answer = gateway.client.chat.completions.with_raw_response.create(
        model="desk", messages=messages("where is my parcel"), logprobs=True, top_logprobs=2
    )
    completion = answer.parse()
    assert completion.choices[0].message.content == "order_status"
    assert completion.id == answer.headers["x-tutelage-exchange"]
    assert answer.headers["x-tutelage-reason"] == "champion"
    assert answer.headers["x-tutelage-version"] == VERSION
    assert completion.usage is not None
    assert completion.usage.prompt_tokens == 4
    tops = completion.choices[0].logprobs.content[0].top_logprobs
    assert tops[0].token == "order_status"
    assert len(tops) == 2
    assert not gateway.teacher.requests
    assert "tutelage" not in (completion.model_extra or {})

    (record,) = gateway.records()
    assert record.id == completion.id
    assert (record.answered_by, record.reason, record.status) == (Answerer.STUDENT, Reason.CHAMPION, 200)
    assert (record.text, record.output, record.label) == ("where is my parcel", "order_status", "order_status")
    assert record.student is not None
    assert record.student.confidence > 0.9
    assert len(record.student.distribution) == 2 * len(LABELS)
    assert record.cost_usd == 0
    assert record.total_ms > record.upstream_ms > 0


def test_the_distribution_is_given_to_whom_asks_for_it(gateway):
    answer = gateway.ask("a refund please", headers={"x-tutelage-distribution": "1"}).json()
    spread = answer["tutelage"]["distribution"]
    assert set(spread) == set(LABELS)
    assert spread["refund_status"] == max(spread.values())
    assert sum(spread.values()) == pytest.approx(1, abs=0.01)


def test_a_student_streams(gateway):
    stream = gateway.client.chat.completions.create(
        model="desk", messages=messages("great, thanks"), stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "praise"
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].usage.completion_tokens == 1
    assert gateway.records()[0].streamed


def test_an_unsure_student_gives_way_to_the_teacher(gateway):
    answer = gateway.ask("hello there")
    assert answer.headers["x-tutelage-reason"] == "low_confidence"
    body = answer.json()
    assert body["choices"][0]["message"]["content"] == "refund_status"
    assert body["a_field_of_tomorrow"] == {"kept": True}
    assert body["id"] == "chatcmpl-teacher"
    (record,) = gateway.records()
    assert record.answered_by is Answerer.TEACHER
    assert record.student is not None, "the student's own answer is kept beside the teacher's"
    assert record.completion_id == "chatcmpl-teacher"
    assert record.cost_usd == pytest.approx((7 * 2.0 + 2 * 10.0) / 1e6)
    assert gateway.metric("tutelage_gateway_cost_dollars_total") == pytest.approx(record.cost_usd)


def test_a_class_that_is_not_trusted_goes_to_the_teacher(gateway):
    gateway.trust("order_status")
    assert gateway.ask("a refund please").headers["x-tutelage-reason"] == "not_trusted"
    assert gateway.ask("where is it").headers["x-tutelage-reason"] == "champion"
    gateway.trust()
    assert gateway.ask("where is it").headers["x-tutelage-reason"] == "not_trusted"


def test_trust_in_another_version_is_no_trust_in_this_one(gateway):
    rows = [Trust("desk", "another", label, True, 1.0, 99, "", 0.0) for label in LABELS]
    gateway.ledger.set_trust("desk", "another", rows)
    gateway.trust()
    assert gateway.ask("where is it").headers["x-tutelage-reason"] == "not_trusted"


@pytest.mark.parametrize(
    "change",
    [
        {"messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "where is it"}]},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]},
        {"n": 2},
        {"response_format": {"type": "json_object"}},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]},
    ],
)
def test_what_no_template_covers_goes_to_the_teacher_untouched(gateway, change):
    answer = gateway.ask("where is it", **{"temperature": 0.123456789, "unheard_of": {"a": [1, None]}} | change)
    assert answer.headers["x-tutelage-reason"] == "template_mismatch"
    (asked,) = gateway.teacher.requests
    assert asked["model"] == "big-teacher"
    assert asked["temperature"] == 0.123456789
    assert asked["unheard_of"] == {"a": [1, None]}
    for key, value in change.items():
        assert asked[key] == value
    (record,) = gateway.records()
    assert record.text is None
    assert json.loads(record.request)["unheard_of"] == {"a": [1, None]}


def test_the_client_may_ask_for_the_teacher(gateway):
    answer = gateway.ask("where is it", headers={"x-tutelage-answer-by": "teacher"})
    assert answer.headers["x-tutelage-reason"] == "forced"
    assert answer.json()["choices"][0]["message"]["content"] == "refund_status"


def test_an_alias_addresses_the_task(gateway):
    assert gateway.ask("where is it", model="gpt-4o").json()["choices"][0]["message"]["content"] == "order_status"
    assert {model.id for model in gateway.client.models.list()} == {"desk", "gpt-4o"}
    assert gateway.client.models.retrieve("desk").model_extra["tutelage"]["labels"] == list(LABELS)


def test_an_unknown_model_is_a_404_that_names_the_known_ones(gateway):
    with pytest.raises(openai.NotFoundError) as caught:
        gateway.client.chat.completions.create(model="gpt-5", messages=messages("hi"))
    assert caught.value.code == "model_not_found"
    assert "desk" in str(caught.value)
    assert not gateway.records()


def test_request_ids_are_echoed_where_they_are_sane(gateway):
    assert gateway.ask("thanks", headers={"x-request-id": "my-id-1"}).headers["x-request-id"] == "my-id-1"
    answer = gateway.ask("thanks", headers={"x-request-id": "no good id"})
    assert answer.headers["x-request-id"] == answer.headers["x-tutelage-exchange"]


@pytest.mark.parametrize("include_usage", [True, False])
def test_a_teachers_stream_is_passed_on_and_accounted(gateway, include_usage):
    options = {"stream_options": {"include_usage": True}} if include_usage else {}
    stream = gateway.client.chat.completions.create(model="desk", messages=messages("hello"), stream=True, **options)
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "refund_status"
    assert any(not chunk.choices for chunk in chunks) is include_usage
    assert gateway.teacher.requests[0]["stream_options"] == {"include_usage": True}
    (record,) = gateway.records()
    assert (record.output, record.complete, record.streamed) == ("refund_status", True, True)
    assert record.usage.prompt_tokens == 7
    assert record.completion_id == "chatcmpl-stream"


def test_a_stream_that_is_cut_ends_with_an_error_and_no_fake_finish(gateway):
    gateway.teacher.behaviour = "cut"
    answer = gateway.ask("hello", stream=True)
    assert answer.status_code == 200
    events = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    assert json.loads(events[-1])["error"]["code"] == "upstream_error"
    assert "[DONE]" not in events
    assert not any('"finish_reason": "stop"' in event for event in events)
    (record,) = gateway.records()
    assert not record.complete
    assert record.output == "refund"


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_cancels_the_teacher_and_is_recorded(gateway, stream):
    gateway.teacher.behaviour = "hang"
    body = {"model": "desk", "messages": messages("hello"), "stream": stream}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{gateway.url}/v1/chat/completions", json=body, timeout=httpx.Timeout(5, read=0.4))
    assert gateway.teacher.cancelled.wait(5)
    gateway.wait(lambda: len(gateway.records()) == 1)
    (record,) = gateway.records()
    assert (record.status, record.complete, record.answered_by) == (499, False, Answerer.NOBODY)
    gateway.wait(lambda: gateway.metric("tutelage_gateway_in_flight") == 0)


def test_a_client_that_leaves_in_mid_stream_is_recorded_with_what_it_got(gateway):
    gateway.teacher.behaviour = "stall"
    body = {"model": "desk", "messages": messages("hello"), "stream": True}
    with httpx.stream("POST", f"{gateway.url}/v1/chat/completions", json=body, timeout=5) as answer:
        assert next(answer.iter_bytes())
    assert gateway.teacher.cancelled.wait(5)
    gateway.wait(lambda: len(gateway.records()) == 1)
    (record,) = gateway.records()
    assert (record.complete, record.output) == (False, "refund")


def test_parallel_requests_get_their_own_answers(gateway):
    texts = {"where is it": "order_status", "a refund": "refund_status", "thanks": "praise"}
    wrong = []

    def ask(text, label):
        for _ in range(20):
            found = gateway.ask(text).json()["choices"][0]["message"]["content"]
            if found != label:
                wrong.append((text, found))

    threads = [threading.Thread(target=ask, args=pair) for pair in texts.items() for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    records = gateway.records()
    assert len(records) == len({record.id for record in records}) == 120


def test_feedback_takes_our_id_and_the_completions_id(gateway):
    exchange = gateway.ask("where is it").headers["x-tutelage-exchange"]
    for identifier in (exchange, "chatcmpl-teacher"):
        answer = httpx.post(f"{gateway.url}/v1/feedback", json={"exchange": identifier, "label": "Refund Status"})
        assert answer.status_code == 201
        assert answer.json()["label"] == "refund_status"
    first, second = gateway.feedback()
    assert (first.exchange, first.label, first.task) == (exchange, "refund_status", "desk")
    assert second.exchange == "chatcmpl-teacher"
    assert gateway.metric("tutelage_gateway_feedback_total") == 2


@pytest.mark.parametrize("stream", [False, True])
def test_what_a_teacher_of_ours_says_of_every_label_is_kept_for_the_next_student(tmp_path, student_url, stream):
    with ExitStack() as stack:
        running = run_gateway(stack, tmp_path, student_url, teacher={"base_url": f"{student_url}/v1", "model": "desk"})
        answer = running.ask("please refund me", stream=stream)
        assert "tutelage" not in answer.text
        (record,) = running.records()
    assert record.answered_by is Answerer.TEACHER
    spread = unpack_floats(record.teacher_distribution)
    assert sum(spread) == pytest.approx(1, abs=1e-2)
    assert LABELS[spread.index(max(spread))] == record.label
