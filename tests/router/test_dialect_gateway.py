"""One task at every address: who answers, in which shape, and what is recorded of it."""

import json
from contextlib import ExitStack

import httpx
import pytest

from core.records import Answerer, Reason, Usage
from tests.router.conftest import run_gateway
from tests.support.students import LABELS

ADDRESSES = {
    "/v1/chat/completions": lambda text: {"messages": [{"role": "user", "content": text}]},
    "/v1/completions": lambda text: {"prompt": text},
    "/v1/responses": lambda text: {"input": text},
}
EVERY = pytest.mark.parametrize("path", ADDRESSES)


def ask(gateway, path, text, headers=None, **more):
    body = {"model": "desk"} | ADDRESSES[path](text) | more
    return httpx.post(gateway.url + path, json=body, headers=headers, timeout=20)


@EVERY
@pytest.mark.parametrize("stream", [False, True])
def test_the_student_answers_at_every_address(gateway, path, stream):
    answer = ask(gateway, path, "where is my parcel", stream=stream)
    assert answer.status_code == 200
    assert "order_status" in answer.text
    assert answer.headers["content-type"].startswith("text/event-stream" if stream else "application/json")
    assert answer.headers["x-tutelage-reason"] == "champion"
    assert not gateway.teacher.requests
    (record,) = gateway.records()
    assert (record.text, record.label, record.streamed) == ("where is my parcel", "order_status", stream)
    assert record.usage == Usage(4, 1)
    assert record.id in answer.text


@EVERY
@pytest.mark.parametrize("stream", [False, True])
def test_the_teacher_is_asked_at_the_clients_own_address(gateway, path, stream):
    answer = ask(gateway, path, "hello there", stream=stream, of_tomorrow=[1, None])
    assert answer.headers["x-tutelage-reason"] == "low_confidence"
    assert gateway.teacher.paths == [path]
    (asked,) = gateway.teacher.requests
    assert (asked["model"], asked["of_tomorrow"]) == ("big-teacher", [1, None])
    (record,) = gateway.records()
    assert (record.answered_by, record.reason) == (Answerer.TEACHER, Reason.LOW_CONFIDENCE)
    assert (record.text, record.output, record.usage) == ("hello there", "refund_status", Usage(7, 2))
    assert record.cost_usd == pytest.approx((7 * 2.0 + 2 * 10.0) / 1e6)
    assert record.complete


@EVERY
@pytest.mark.parametrize("stream", [False, True])
def test_a_teacher_that_chooses_is_asked_by_chat_and_said_in_the_clients_dialect(tmp_path, student_url, path, stream):
    with ExitStack() as stack:
        running = run_gateway(stack, tmp_path, student_url, teacher={"ask": "choose"})
        running.teacher.label = str(LABELS.index("praise"))
        answer = ask(running, path, "hello there", stream=stream)
        (record,) = running.records()
    assert '"praise"' in answer.text
    assert running.teacher.paths == ["/v1/chat/completions"]
    assert (record.output, record.answered_by, record.streamed) == ("praise", Answerer.TEACHER, stream)


@EVERY
def test_the_distribution_is_given_at_every_address(gateway, path):
    answer = ask(gateway, path, "a refund please", headers={"x-tutelage-distribution": "1"}).json()
    assert answer["tutelage"]["distribution"].keys() == set(LABELS)
    assert "tutelage" not in ask(gateway, path, "a refund please").json()


@EVERY
def test_errors_have_one_shape_at_every_address(gateway, path):
    for body, param in ((b"{", None), (b'{"model": 3}', "model")):
        answer = httpx.post(gateway.url + path, content=body)
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == param
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert httpx.get(gateway.url + path).status_code == 405


def test_embeddings_of_a_task_are_its_teachers(gateway):
    answer = httpx.post(f"{gateway.url}/v1/embeddings", json={"model": "desk", "input": "where is my parcel"})
    assert answer.json()["data"][0]["embedding"] == [0.25, -0.5]
    assert answer.headers["x-tutelage-reason"] == "passthrough"
    (record,) = gateway.records()
    assert (record.answered_by, record.output, record.label) == (Answerer.TEACHER, None, None)
    assert record.usage == Usage(7, 0)


def test_a_field_of_the_clients_with_a_name_of_ours_goes_through(gateway):
    answer = ask(gateway, "/v1/responses", "hello there", stream=True, metadata={"tutelage": "mine"})
    last = answer.text.rstrip().split("\n\n")[-1]
    assert json.loads(last.partition("data: ")[2])["response"]["metadata"] == {"tutelage": "mine"}


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/responses"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_teacher_that_speaks_chat_alone_is_asked_by_chat(tmp_path, student_url, path, stream):
    with ExitStack() as stack:
        running = run_gateway(stack, tmp_path, student_url, teacher={"dialects": ["chat"]})
        answer = ask(running, path, "hello there", stream=stream)
        (record,) = running.records()
        refused = ask(running, "/v1/responses", "hello there", tools=[{"type": "function", "name": "f"}])
        embeddings = httpx.post(f"{running.url}/v1/embeddings", json={"model": "desk", "input": "a"})
    assert '"refund_status"' in answer.text
    assert running.teacher.paths == ["/v1/chat/completions"]
    assert running.teacher.requests[0]["messages"] == [{"role": "user", "content": "hello there"}]
    assert (record.output, record.usage, record.streamed) == ("refund_status", Usage(7, 2), stream)
    assert refused.status_code == embeddings.status_code == 400
    assert "does not serve /v1/responses" in refused.json()["error"]["message"]
