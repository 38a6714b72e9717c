from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from core.labels import LabelSet
from core.templates import compile_template
from server.app import StudentApp
from server.batching import Limits
from server.metrics import StudentMetrics
from server.versions import CHALLENGER, CHAMPION, ServedTask, Versions
from tests.support.students import LABELS, write_student

TEMPLATES = (
    compile_template("default", [("user", "{text}")]),
    compile_template("ticket", [("system", "Classify."), ("user", "Subject: {subject}\nBody: {body}")]),
)
QUESTION = [{"role": "user", "content": "where is my refund money"}]


@pytest.fixture
def metrics():
    return StudentMetrics()


@pytest.fixture
async def versions(tmp_path, metrics):
    tasks = [ServedTask("desk", TEMPLATES, LabelSet(LABELS)), ServedTask("empty", TEMPLATES, LabelSet(LABELS))]
    made = Versions(tasks, Limits(max_queue=2), metrics)
    await made.install("desk", CHAMPION, "1", write_student(tmp_path / "one"))
    await made.install("desk", CHALLENGER, "2", write_student(tmp_path / "two"))
    yield made
    await made.close()


@pytest.fixture
async def client(versions, metrics):
    transport = httpx.ASGITransport(StudentApp(versions, metrics, max_body_bytes=2_000))
    async with httpx.AsyncClient(transport=transport, base_url="http://student") as made:
        yield made


def _chat(client, headers=None, **fields):
    body = {"model": "desk", "messages": QUESTION} | fields
    return client.post("/v1/chat/completions", json=body, headers=headers or {})


async def test_an_answer(client):
    answer = (await _chat(client, headers={"x-tutelage-exchange": "ex_1"}, logprobs=True, top_logprobs=2)).json()
    assert answer["id"] == "ex_1"
    assert answer["model"] == "desk"
    choice = answer["choices"][0]
    assert choice["message"]["content"] == "refund_status"
    tops = choice["logprobs"]["content"][0]["top_logprobs"]
    assert len(tops) == 2
    assert tops[0]["token"] == "refund_status"
    assert tops[0]["logprob"] == choice["logprobs"]["content"][0]["logprob"] > tops[1]["logprob"]
    assert answer["usage"] == {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}
    vendor = answer["tutelage"]
    assert (vendor["version"], vendor["label"], vendor["label_set"]) == ("1", "refund_status", LabelSet(LABELS).version)


async def test_an_id_is_minted_where_none_is_given_or_it_is_not_sane(client):
    for headers in ({}, {"x-tutelage-exchange": "a b"}):
        assert (await _chat(client, headers=headers)).json()["id"].startswith("chatcmpl_")


async def test_a_stream_and_a_stream_that_the_gateway_wants_whole(client):
    streamed = await _chat(client, stream=True, stream_options={"include_usage": True})
    assert streamed.headers["content-type"].startswith("text/event-stream")
    events = [line.removeprefix("data: ") for line in streamed.text.split("\n\n") if line]
    assert events[-1] == "[DONE]"
    chunks = [json.loads(event) for event in events[:-1]]
    assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks if c["choices"]) == "refund_status"
    assert chunks[-1]["usage"]["total_tokens"] == 6
    whole = await _chat(client, headers={"x-tutelage-buffer": "1"}, stream=True)
    assert whole.json()["choices"][0]["message"]["content"] == "refund_status"


async def test_versions_by_name(client):
    for model, version in (("desk@champion", "1"), ("desk@challenger", "2"), ("desk@2", "2")):
        assert (await _chat(client, model=model)).json()["tutelage"]["version"] == version


async def test_templates(client):
    messages = [{"role": "system", "content": "Classify."}, {"role": "user", "content": "Subject: thanks\nBody: great"}]
    assert (await _chat(client, messages=messages)).json()["choices"][0]["message"]["content"] == "praise"


async def test_pages(client):
    assert (await client.get("/healthz")).json() == {"status": "ok"}
    assert (await client.get("/readyz")).json() == {"status": "ready"}
    listed = (await client.get("/v1/models")).json()["data"]
    assert [entry["id"] for entry in listed] == ["desk", "empty"]
    version = LabelSet(LABELS).version
    assert listed[0]["tutelage"] == {"champion": "1", "challenger": "2", "label_set": version}
    assert listed[1]["tutelage"] == {"champion": None, "challenger": None, "label_set": version}
    assert (await client.get("/v1/models/desk")).json()["id"] == "desk"


async def test_metrics(client):
    await _chat(client)
    await _chat(client, model="nobody")
    await _chat(client, model="desk@9")
    text = (await client.get("/metrics")).text
    assert 'tutelage_student_requests_total{code="200",task="desk",version="1"} 1.0' in text
    assert 'tutelage_student_requests_total{code="404",task="other",version="none"} 1.0' in text
    assert 'tutelage_student_requests_total{code="404",task="desk",version="none"} 1.0' in text
    assert 'tutelage_student_version_info{alias="challenger",task="desk",version="2"} 1.0' in text
    assert 'tutelage_student_batch_size_count{task="desk"} 1.0' in text


CHAT, MODELS = "/v1/chat/completions", "/v1/models"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/", b"", 404, "not_found"),
        ("POST", "/v1/completions", b"{}", 404, "not_found"),
        ("GET", f"{MODELS}/nobody", b"", 404, "model_not_found"),
        ("GET", CHAT, b"", 405, "method_not_allowed"),
        ("DELETE", MODELS, b"", 405, "method_not_allowed"),
        ("POST", "/healthz", b"", 405, "method_not_allowed"),
        ("POST", "/readyz", b"", 405, "method_not_allowed"),
        ("POST", "/metrics", b"", 405, "method_not_allowed"),
        ("POST", CHAT, b"", 400, "invalid_json"),
        ("POST", CHAT, b"\xff{", 400, "invalid_json"),
        ("POST", CHAT, b'{"model":"desk","messages":' + b"[" * 1_900, 400, "invalid_json"),
        ("POST", CHAT, b"[]", 400, None),
        ("POST", CHAT, b'{"model":"desk"}', 400, None),
        ("POST", CHAT, b'{"model":"desk","messages":[]}', 400, None),
        ("POST", CHAT, b'{"model":"desk","messages":["hi"]}', 400, "template_mismatch"),
        ("POST", CHAT, b'{"model":"desk","messages":[{"role":"system","content":"x"}]}', 400, "template_mismatch"),
        ("POST", CHAT, b'{"model":"desk","messages":[{"role":"user","content":"x"}],"n":2}', 400, "template_mismatch"),
        ("POST", CHAT, b'{"model":"nobody","messages":[{"role":"user","content":"x"}]}', 404, "model_not_found"),
        ("POST", CHAT, b'{"model":"desk@7","messages":[{"role":"user","content":"x"}]}', 404, "model_not_found"),
        ("POST", CHAT, b'{"model":"empty","messages":[{"role":"user","content":"x"}]}', 503, "unavailable"),
        ("POST", CHAT, b" " * 2_001, 413, "body_too_large"),
    ],
)
async def test_every_error_has_openais_shape(client, method, path, body, status, code):
    answer = await client.request(method, path, content=body)
    _assert_shape(answer, status, code)


def _assert_shape(answer, status, code):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    error = answer.json()["error"]
    assert set(answer.json()) == {"error"}
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == code
    assert error["message"]
    assert error["type"] == ("server_error" if status >= 500 else error["type"])


async def test_without_a_champion_it_is_not_ready(versions, client):
    await versions.remove("desk", CHAMPION)
    _assert_shape(await client.get("/readyz"), 503, "unavailable")


async def test_a_defect_is_500_without_its_details(versions, client, monkeypatch):
    monkeypatch.setattr(versions, "pick", lambda model: 1 / 0)
    answer = await _chat(client)
    _assert_shape(answer, 500, "internal_error")
    assert "division" not in answer.text
    monkeypatch.setattr(type(versions), "tasks", property(lambda self: 1 / 0))
    _assert_shape(await client.get("/v1/models"), 500, "internal_error")


async def test_a_full_queue_is_429_with_a_time_to_come_back(client):
    answers = await asyncio.gather(*[_chat(client) for _ in range(12)])
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {200, 429}
    refused = answers[statuses.index(429)]
    _assert_shape(refused, 429, "overloaded")
    assert int(refused.headers["retry-after-ms"]) > 0
    assert int(refused.headers["retry-after"]) == 1
