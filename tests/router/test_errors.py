"""One canonical error shape, on every route and for every fault."""

import json
import socket
from contextlib import ExitStack

import httpx
import pytest

from core.records import Answerer, Reason
from tests.router.conftest import run_gateway
from tests.support.processes import free_port
from tests.support.students import LABELS

GOOD = {"model": "desk", "messages": [{"role": "user", "content": "hello"}]}
CHAT = "/v1/chat/completions"


def assert_shape(response, status, code, *, param=None):
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert set(response.json()) == {"error"}
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert isinstance(error["message"], str)
    assert error["message"]
    assert "Traceback" not in response.text
    assert error["code"] == code
    assert error["param"] == param
    assert response.headers["x-request-id"]


@pytest.mark.parametrize(
    ("content", "code", "param"),
    [
        (b"", None, None),
        (b"{", "invalid_json", None),
        (b"[]", None, None),
        (b"\xff\xfe", "invalid_json", None),
        (b'{"model": "desk", "messages": [' + b"[" * 100_000, None, "messages[0]"),
        (b'{"model": "desk", "messages": [{"role": "user", "content": ' + b"[" * 100_000, "invalid_json", None),
        (b'{"messages": []}', None, None),
        (json.dumps(GOOD | {"messages": []}), None, "messages"),
        (json.dumps(GOOD | {"model": 3}), None, "model"),
        (json.dumps(GOOD | {"messages": "hi"}), None, "messages"),
        (json.dumps(GOOD | {"stream": "yes"}), None, "stream"),
        (json.dumps(GOOD | {"top_logprobs": 21}), None, "top_logprobs"),
        (json.dumps(GOOD | {"stream_options": []}), None, "stream_options"),
    ],
)
def test_a_bad_chat_request_is_a_400_that_names_the_field(gateway, content, code, param):
    assert_shape(httpx.post(f"{gateway.url}{CHAT}", content=content), 400, code, param=param)
    assert gateway.metric("tutelage_gateway_in_flight") == 0


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "not_found"),
        ("GET", "/v1/nothing", 404, "not_found"),
        ("POST", "/v1/audio/speech", 404, "not_found"),
        ("GET", CHAT, 405, "method_not_allowed"),
        ("DELETE", "/v1/models", 405, "method_not_allowed"),
        ("GET", "/v1/feedback", 405, "method_not_allowed"),
        ("GET", "/v1/models/gpt-5", 404, "model_not_found"),
    ],
)
def test_a_wrong_address_or_method_has_the_shape_too(gateway, method, path, status, code):
    param = "model" if code == "model_not_found" else None
    assert_shape(httpx.request(method, f"{gateway.url}{path}"), status, code, param=param)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"exchange": "x"}, None),
        ({"exchange": "", "label": "praise"}, "exchange"),
        ({"exchange": "x" * 500, "label": "praise"}, "exchange"),
        ({"exchange": "x", "label": "prais"}, "label"),
        ({"exchange": "x", "label": "praise", "modell": "desk"}, None),
        ({"exchange": 3, "label": "praise"}, "exchange"),
    ],
)
def test_bad_feedback_is_a_400(gateway, body, param):
    assert_shape(httpx.post(f"{gateway.url}/v1/feedback", json=body), 400, None, param=param)
    assert not gateway.feedback()


def test_feedback_for_an_unknown_model_is_a_404_and_huge_feedback_a_400(gateway):
    url = f"{gateway.url}/v1/feedback"
    body = {"exchange": "x", "label": "praise"}
    assert_shape(httpx.post(url, json=body | {"model": "no"}), 404, "model_not_found", param="model")
    assert_shape(httpx.post(url, json=body | {"comment": "x" * 100_000}), 400, None)


def test_a_large_body_is_a_413_whether_or_not_its_size_is_announced(tmp_path, student_url):
    with ExitStack() as stack:
        gateway = run_gateway(stack, tmp_path, student_url, gateway={"max_body_bytes": 2048})
        large = json.dumps(GOOD | {"messages": [{"role": "user", "content": "x" * 5000}]}).encode()
        assert_shape(httpx.post(f"{gateway.url}{CHAT}", content=large), 413, "body_too_large")
        pieces = (large[start : start + 500] for start in range(0, len(large), 500))
        assert_shape(httpx.post(f"{gateway.url}{CHAT}", content=pieces), 413, "body_too_large")


def test_a_teachers_refusal_keeps_its_status_in_openais_shape(gateway):
    gateway.teacher.behaviour = "error"
    response = gateway.ask("hello")
    assert_shape(response, 429, None)
    assert response.json()["error"]["message"] == "too fast"
    (record,) = gateway.records()
    assert (record.answered_by, record.status, record.reason) == (Answerer.NOBODY, 429, Reason.LOW_CONFIDENCE)


def test_a_teacher_that_answers_with_rubbish_is_a_502(gateway):
    gateway.teacher.behaviour = "rubbish"
    assert_shape(gateway.ask("hello"), 502, "upstream_error")


@pytest.mark.parametrize("stream", [False, True])
def test_a_teacher_that_is_late_is_a_504(tmp_path, student_url, stream):
    with ExitStack() as stack:
        gateway = run_gateway(stack, tmp_path, student_url, gateway={"deadline_seconds": 0.3})
        gateway.teacher.behaviour = "hang"
        assert_shape(gateway.ask("hello", stream=stream), 504, "deadline_exceeded")
        assert gateway.teacher.cancelled.wait(5)


@pytest.mark.parametrize("stream", [False, True])
def test_a_teacher_that_is_down_is_a_502_and_recorded(tmp_path, student_url, stream):
    with ExitStack() as stack:
        down = {"base_url": f"http://127.0.0.1:{free_port()}/v1"}
        gateway = run_gateway(stack, tmp_path, student_url, teacher=down)
        assert_shape(gateway.ask("hello", stream=stream), 502, "upstream_error")
        (record,) = gateway.records()
        assert record.answered_by is Answerer.NOBODY
        assert "reached" in record.error


def test_a_missing_key_is_said_without_the_key(tmp_path, student_url):
    with ExitStack() as stack:
        gateway = run_gateway(stack, tmp_path, student_url, teacher={"api_key_env": "A_KEY_THAT_IS_NOT_SET"})
        response = gateway.ask("hello")
        assert_shape(response, 502, "upstream_error")
        assert "A_KEY_THAT_IS_NOT_SET" in response.json()["error"]["message"]


def test_a_key_reaches_the_teacher_alone(tmp_path, student_url, monkeypatch, capfd):
    monkeypatch.setenv("TEACHER_KEY_FOR_TESTS", "s3cret-value")
    with ExitStack() as stack:
        gateway = run_gateway(stack, tmp_path, student_url, teacher={"api_key_env": "TEACHER_KEY_FOR_TESTS"})
        answer = gateway.ask("hello", headers={"authorization": "Bearer the-clients-own"})
        assert gateway.teacher.headers[-1]["authorization"] == "Bearer s3cret-value"
        metrics = httpx.get(f"{gateway.url}/metrics").text
        assert "s3cret-value" not in answer.text + str(answer.headers) + metrics + repr(gateway.records())
    assert "s3cret-value" not in "".join(capfd.readouterr())


def test_too_many_requests_under_way_are_shed_at_once(tmp_path, student_url):
    with ExitStack() as stack:
        gateway = run_gateway(stack, tmp_path, student_url, gateway={"max_in_flight": 1})
        gateway.teacher.behaviour = "hang"
        host, port = gateway.url.removeprefix("http://").split(":")
        waiting = stack.enter_context(socket.create_connection((host, int(port))))
        body = json.dumps(GOOD).encode()
        waiting.sendall(
            b"POST %s HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % (CHAT.encode(), len(body)) + body
        )
        gateway.wait(lambda: gateway.metric("tutelage_gateway_in_flight") == 1)
        response = gateway.ask("hello")
        assert_shape(response, 429, "overloaded")
        assert int(response.headers["retry-after"]) >= 1


def test_without_student_and_teacher_nobody_is_ready(tmp_path):
    with ExitStack() as stack:
        nobody = f"http://127.0.0.1:{free_port()}"
        gateway = run_gateway(stack, tmp_path, nobody, teacher={"base_url": f"{nobody}/v1"})
        assert_shape(httpx.get(f"{gateway.url}/readyz"), 503, "unavailable")
        assert httpx.get(f"{gateway.url}/healthz").json() == {"status": "ok"}


def test_the_student_down_costs_nobody_an_answer(tmp_path):
    with ExitStack() as stack:
        gateway = run_gateway(stack, tmp_path, f"http://127.0.0.1:{free_port()}")
        gateway.wait(lambda: httpx.get(f"{gateway.url}/readyz").status_code == 200)
        assert httpx.get(f"{gateway.url}/readyz").json()["tasks"] == {"desk": "teacher"}
        answer = gateway.ask("where is it")
        assert answer.headers["x-tutelage-reason"] == "student_unavailable"
        assert answer.json()["choices"][0]["message"]["content"] == "refund_status"


def test_a_million_model_names_leave_the_metrics_as_they_are(gateway):
    gateway.ask("x", model="first")
    before = len(httpx.get(f"{gateway.url}/metrics").text.splitlines())
    for number in range(30):
        assert_shape(gateway.ask("x", model=f"model-{number}"), 404, "model_not_found", param="model")
    assert len(httpx.get(f"{gateway.url}/metrics").text.splitlines()) == before


def test_ready_names_who_answers(gateway):
    assert httpx.get(f"{gateway.url}/readyz").json()["tasks"] == {"desk": "student"}
    gateway.trust()
    assert len(LABELS) == 3
    gateway.wait(lambda: httpx.get(f"{gateway.url}/readyz").json()["tasks"] == {"desk": "teacher"})
