"""One canonical error shape, on every route and for every fault."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import structlog

from core.limits import NO_LIMITS, Limits
from core.records import Answerer, Reason
from tests.router.conftest import Running, run_gateway
from tests.support.errors import assert_refusal
from tests.support.processes import free_port
from tests.support.raw_client import RawClient, request
from tests.support.students import LABELS

GOOD = {"model": "desk", "messages": [{"role": "user", "content": "hello"}]}
CHAT, COMPLETIONS, RESPONSES, EMBEDDINGS = "chat/completions", "completions", "responses", "embeddings"
BODIES: dict[str, dict[str, Any]] = {
    CHAT: {"messages": [{"role": "user", "content": "hello"}]},
    COMPLETIONS: {"prompt": "hello"},
    RESPONSES: {"input": "hello"},
    EMBEDDINGS: {"input": "hello"},
}
"""What the teacher answers, at every address that a model answers at."""

_NO_COUNT: list[Any] = ["3", 1.5, True, -1, 2**31, 10**30]
WRONG: dict[str, dict[str, list[Any]]] = {
    CHAT: {
        "messages": [None, "hi", 3, {}, [], [3], [[]]],
        "stream": ["yes", 1, []],
        "stream_options": [[], "yes", 3],
        "n": _NO_COUNT,
        "logprobs": [5, "yes"],
        "top_logprobs": ["5", 21, -1, 10**30],
        "tools": [{}, "tool"],
        "functions": [{}, 3],
        "user": [3, {}, ["u"]],
        "max_tokens": _NO_COUNT,
        "max_completion_tokens": _NO_COUNT,
    },
    COMPLETIONS: {
        "stream": ["yes", 1, []],
        "logprobs": _NO_COUNT,
        "n": _NO_COUNT,
        "best_of": _NO_COUNT,
        "echo": ["yes", 0],
        "suffix": [3, []],
        "user": [3, {}],
        "max_tokens": _NO_COUNT,
    },
    RESPONSES: {
        "input": [None],
        "stream": ["yes", 1],
        "include": [{}, "all"],
        "top_logprobs": ["5", 21, -1],
        "user": [3],
        "max_output_tokens": _NO_COUNT,
        "tools": [{}],
        "text": ["short", []],
        "metadata": [[], "m"],
        "temperature": ["hot"],
        "previous_response_id": [3],
    },
    EMBEDDINGS: {"input": [None], "user": [3]},
}
"""Values that a field must not have."""


@dataclass
class House:
    """A gateway with keys, and tasks whose teachers fail each in its own way."""

    running: Running
    client: httpx.Client
    keys: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return self.running.url

    def post(self, path: str, content: Any, key: str = "all", **headers: str) -> httpx.Response:
        sent = {"authorization": f"Bearer {self.keys[key]}", "x-request-id": "asked/1"} | headers
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        return self.client.post(f"{self.url}/v1/{path}", content=raw, headers=sent)

    def ask(self, path: str, model: str, key: str = "all", **more: Any) -> httpx.Response:
        return self.post(path, {"model": model} | BODIES[path] | more, key)


def assert_shape(
    response: httpx.Response, status: int, code: str | None, *, param: str | None = None, model: bool = True
) -> None:
    """Assert the shape, and every header that is due with such a status; `model`: a model would have answered."""
    error = assert_refusal(response.status_code, response.headers, response.content)
    assert (response.status_code, error["code"], error["param"]) == (status, code, param), error
    assert error["type"] == _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error") or (
        error["type"] == "insufficient_quota"
    )
    headers = response.headers
    asked_as = response.request.headers.get("x-request-id")
    assert asked_as is None or headers["x-request-id"] == asked_as
    if status in (429, 503) and error["type"] != "insufficient_quota":
        assert int(headers["retry-after"]) >= 1
        assert int(headers["retry-after-ms"]) >= 1
        assert int(headers["retry-after"]) >= int(headers["retry-after-ms"]) / 1000
    else:
        assert "retry-after" not in headers
    assert headers.get("x-should-retry") == (
        "false" if status == 504 or error["type"] == "insufficient_quota" else None
    )
    assert ("www-authenticate" in headers) == (status == 401)
    assert ("allow" in headers) == (status == 405)
    assert ("x-tutelage-exchange" in headers) == model


_TYPES = {429: "rate_limit_error"}


class _Defect:
    """A template with a defect of ours."""

    def match(self, messages: object) -> None:
        raise RuntimeError("a defect, on purpose")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, student_url: str) -> Iterator[House]:
    with ExitStack() as stack:
        structlog.configure(processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()])
        stack.callback(structlog.reset_defaults)
        down = {"base_url": f"http://127.0.0.1:{free_port()}/v1", "model": "down"}
        opens = {"breaker": {"consecutive_failures": 1, "open_seconds": 60, "max_open_seconds": 60}}
        running = run_gateway(
            stack,
            tmp_path_factory.mktemp("errors"),
            student_url,
            gateway={
                "max_body_bytes": 20_000,
                "max_in_flight": 2,
                "deadline_seconds": 0.4,
                "read_seconds": 0.4,
            },
            further={
                "other": {},
                "down": {"teacher": down | {"breaker": {"consecutive_failures": 1000, "min_requests": 1000}}},
                "broken": {"teacher": down | opens},
                "spent": {"fallback": {"dollars_per_day": 1e-9, "when_spent": "refuse"}},
                "defect": {},
            },
        )
        running.gateway.targets.tasks["defect"].templates = (_Defect(),)  # type: ignore[assignment]  # on purpose
        house = House(running, stack.enter_context(httpx.Client(timeout=20)))
        given = {
            "all": ((), NO_LIMITS),
            "desk alone": (("desk",), NO_LIMITS),
            "slow": ((), Limits(requests_per_minute=1)),
            "small": ((), Limits(tokens_per_minute=10)),
            "poor": ((), Limits(dollars_per_day=1e-9)),
        }
        for name, (tasks, limits) in given.items():
            _, house.keys[name] = running.ledger.keys.create(
                name.replace(" ", "-"), actor="a test", at=time.time(), tasks=tasks, limits=limits
            )
        house.keys["none"] = "tut-none-0123456789"
        running.wait(lambda: house.post(CHAT, b"{}", "none").status_code == 401)
        for name in given:
            running.wait(lambda name=name: house.post(CHAT, b"{}", name).status_code != 401)
        for name in ("slow", "poor"):
            house.ask(CHAT, "desk", name)
        house.ask(CHAT, "spent")
        house.ask(CHAT, "broken")
        yield house


def _with(**more: Any) -> Callable[[House, str], httpx.Response]:
    return lambda house, path: house.ask(path, "desk", **more)


def _of(model: str, key: str = "all") -> Callable[[House, str], httpx.Response]:
    return lambda house, path: house.ask(path, model, key)


def _raw(content: bytes) -> Callable[[House, str], httpx.Response]:
    return lambda house, path: house.post(path, content)


def _pieces(house: House, path: str) -> httpx.Response:
    pieces = (b"x" * 5000 for _ in range(10))
    headers = {"authorization": f"Bearer {house.keys['all']}"}
    return house.client.post(f"{house.url}/v1/{path}", content=pieces, headers=headers)


def _behaving(behaviour: str) -> Callable[[House, str], httpx.Response]:
    def ask(house: House, path: str) -> httpx.Response:
        house.running.teacher.behaviour = behaviour
        try:
            return house.ask(path, "other")
        finally:
            house.running.teacher.behaviour = "answer"

    return ask


def _crowded(house: House, path: str) -> httpx.Response:
    with _hanging(house, 2):
        return house.ask(path, "other")


@contextmanager
def _hanging(house: House, count: int) -> Iterator[None]:
    """Requests under way, which their teacher leaves without an answer."""
    house.running.teacher.behaviour = "hang"
    body = json.dumps(GOOD).encode()
    raw = request("/v1/chat/completions", body, f"authorization: Bearer {house.keys['all']}".encode())
    try:
        with ExitStack() as stack:
            for _ in range(count):
                stack.enter_context(RawClient(house.url)).send(raw)
            house.running.wait(lambda: house.running.metric("tutelage_gateway_in_flight") == count)
            yield
    finally:
        house.running.teacher.behaviour = "answer"
        house.running.wait(lambda: house.running.metric("tutelage_gateway_in_flight") == 0)


FAULTS: dict[str, tuple[Callable[[House, str], httpx.Response], int, str | None, str | None]] = {
    "an empty body": (_raw(b""), 400, None, None),
    "half a document": (_raw(b'{"model": "desk"'), 400, "invalid_json", None),
    "no document": (_raw(b"\x00\x01"), 400, "invalid_json", None),
    "no object": (_raw(b"[]"), 400, None, None),
    "invalid UTF-8": (_raw(b'{"model": "\xff\xfe"}'), 400, "invalid_json", None),
    "UTF-16": (_raw('{"model": "desk"}'.encode("utf-16")), 400, "invalid_json", None),
    "half a surrogate pair": (_raw(b'{"model": "\\ud800"}'), 400, "invalid_json", None),
    "no number": (_raw(b'{"model": NaN}'), 400, "invalid_json", None),
    "a deep array": (_raw(b'{"x": ' + b"[" * 10_000), 400, "invalid_json", None),
    "a deep object": (_raw(b'{"x": ' * 3_000), 400, "invalid_json", None),
    "no model": (_raw(b"{}"), 400, None, None),
    "no key": (lambda house, path: house.ask(path, "desk", "none"), 401, "invalid_api_key", None),
    "another's task": (_of("other", "desk alone"), 403, "model_not_allowed", "model"),
    "an unknown model": (_of("gpt-5"), 404, "model_not_found", "model"),
    "an unknown model with NUL": (_of("gpt\0five\r\nx-evil: 1"), 404, "model_not_found", "model"),
    "a long model's name": (_of("m" * 10_000), 404, "model_not_found", "model"),
    "a large body": (_with(x="x" * 20_000), 413, "body_too_large", None),
    "a large body in pieces": (_pieces, 413, "body_too_large", None),
    "too many a minute": (_of("desk", "slow"), 429, "rate_limit_exceeded", None),
    "no dollars left": (_of("desk", "poor"), 429, "insufficient_quota", None),
    "no dollars left for the teacher": (_of("spent"), 429, "fallback_spent", None),
    "too much under way": (_crowded, 429, "overloaded", None),
    "a defect": (_of("defect"), 500, "internal_error", None),
    "nobody at the other end": (_of("down"), 502, "upstream_error", None),
    "rubbish": (_behaving("rubbish"), 502, "upstream_error", None),
    "an open breaker": (_of("broken"), 503, "breaker_open", None),
    "no answer in time": (_behaving("hang"), 504, "deadline_exceeded", None),
}


NO_LABELS = {"a defect", "no dollars left for the teacher"}
"""What cannot happen where no label is an answer: no template is read there, and nothing is saved."""

CASES = [(path, *FAULTS[name]) for path in BODIES for name in FAULTS if path != EMBEDDINGS or name not in NO_LABELS]
_IDS = [f"{path}-{name}" for path in BODIES for name in FAULTS if path != EMBEDDINGS or name not in NO_LABELS]


@pytest.mark.parametrize(("path", "ask", "status", "code", "param"), CASES, ids=_IDS)
def test_every_fault_has_the_shape_wherever_a_model_answers(house, path, ask, status, code, param):
    assert_shape(ask(house, path), status, code, param=param)


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [(path, name, value) for path, fields in WRONG.items() for name, values in fields.items() for value in values],
)
def test_a_field_of_the_wrong_type_is_a_400_that_names_it(house, path, name, value):
    response = house.ask(path, "desk", **{name: value})
    error = assert_refusal(response.status_code, response.headers, response.content)
    assert response.status_code == 400, error
    assert (error["param"] or "").split("[")[0].split(".")[0] == name


def _to(
    method: str, path: str, content: bytes | None = None, key: str | None = "all"
) -> Callable[[House], httpx.Response]:
    def ask(house: House) -> httpx.Response:
        headers = {"x-request-id": "asked/2"} | ({} if key is None else {"authorization": f"Bearer {house.keys[key]}"})
        return house.client.request(method, house.url + path, content=content, headers=headers)

    return ask


def _fed(key: str = "all", **given: Any) -> Any:
    return _to(
        "POST", "/v1/feedback", json.dumps({"exchange": "x", "label": "praise", "model": "desk"} | given).encode(), key
    )


def _broken_metrics(house: House) -> httpx.Response:
    async def fail() -> bytes:
        raise RuntimeError("a defect, on purpose")

    metrics = house.running.gateway.metrics
    metrics.exposed_by(fail)
    try:
        return _to("GET", "/metrics")(house)
    finally:
        metrics.exposed_by(_rendered(metrics))


def _rendered(metrics: Any) -> Any:
    async def render() -> bytes:
        return bytes(metrics.render())

    return render


ELSEWHERE: dict[str, tuple[Any, int, str | None, str | None]] = {
    "models without a key": (_to("GET", "/v1/models", key=None), 401, "invalid_api_key", None),
    "models with a wrong key": (_to("GET", "/v1/models", key="none"), 401, "invalid_api_key", None),
    "a model without a key": (_to("GET", "/v1/models/desk", key=None), 401, "invalid_api_key", None),
    "another's model": (_to("GET", "/v1/models/other", key="desk alone"), 403, "model_not_allowed", "model"),
    "an unknown model": (_to("GET", "/v1/models/gpt-5"), 404, "model_not_found", "model"),
    "a model's name of NULs": (_to("GET", "/v1/models/%00%ff%2e%2e/x"), 404, "model_not_found", "model"),
    "feedback without a key": (_fed(key="none"), 401, "invalid_api_key", None),
    "feedback on another's task": (_fed(key="desk alone", model="other"), 403, "model_not_allowed", "model"),
    "feedback on an unknown model": (_fed(model="no"), 404, "model_not_found", "model"),
    "feedback without a model": (_fed(model=None), 400, None, "model"),
    "feedback on nothing": (_fed(exchange=""), 400, None, "exchange"),
    "feedback on a long id": (_fed(exchange="x" * 500), 400, None, "exchange"),
    "feedback on a number": (_fed(exchange=3), 400, None, "exchange"),
    "feedback of an unknown label": (_fed(label="prais"), 400, None, "label"),
    "feedback of a label of the wrong type": (_fed(label=["praise"]), 400, None, "label"),
    "feedback of a comment of the wrong type": (_fed(comment=None), 400, None, "comment"),
    "feedback with a misspelt field": (_fed(labell="praise"), 400, None, None),
    "feedback that is no JSON": (_to("POST", "/v1/feedback", b"{"), 400, "invalid_json", None),
    "feedback of nothing": (_to("POST", "/v1/feedback", b""), 400, "invalid_json", None),
    "feedback in half a surrogate pair": (
        _to("POST", "/v1/feedback", b'{"exchange": "\\ud800"}'),
        400,
        "invalid_json",
        None,
    ),
    "huge feedback": (_fed(comment="x" * 100_000), 413, "body_too_large", None),
    "metrics with a defect": (_broken_metrics, 500, "internal_error", None),
    "nothing at the root": (_to("GET", "/"), 404, "not_found", None),
    "nothing below /v1": (_to("GET", "/v1/nothing"), 404, "not_found", None),
    "what OpenAI has and we do not": (_to("POST", "/v1/audio/speech", b"{}"), 404, "not_found", None),
    "an address with a slash too many": (_to("POST", "/v1/chat/completions/", b"{}"), 404, "not_found", None),
    "an address with another slash too many": (_to("GET", "/healthz/"), 404, "not_found", None),
    "the framework's own pages": (_to("GET", "/docs"), 404, "not_found", None),
}

METHODS = {
    **{f"/v1/{path}": "POST" for path in BODIES},
    "/v1/models": "GET",
    "/v1/models/desk": "GET",
    "/v1/feedback": "POST",
    "/healthz": "GET",
    "/readyz": "GET",
    "/metrics": "GET",
    "/openapi.json": "GET",
}


@pytest.mark.parametrize(("ask", "status", "code", "param"), ELSEWHERE.values(), ids=ELSEWHERE)
def test_every_other_fault_has_the_shape(house, ask, status, code, param):
    assert_shape(ask(house), status, code, param=param, model=False)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PURGE"])
@pytest.mark.parametrize(("path", "own"), METHODS.items())
def test_every_address_says_which_methods_it_takes(house, path, own, method):
    """There is no CORS: a browser would have to hold the API key."""
    response = _to(method, path)(house)
    if method == own or (method, own) == ("HEAD", "GET"):
        assert response.status_code != 405
        assert response.headers["x-request-id"] == "asked/2"
        assert method == "GET" or not response.content or response.is_error
    elif method == "HEAD":
        assert (response.status_code, response.content) == (405, b"")
        assert response.headers["allow"] == own
    else:
        assert_shape(response, 405, "method_not_allowed", model=False)
        assert response.headers["allow"] == ("GET, HEAD" if own == "GET" else own)
        assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize("path", METHODS)
@pytest.mark.parametrize("insane", ["", "two words", "x" * 129, "<script>", "a;b", "\xe4"])
def test_an_insane_request_id_is_not_echoed(house, path, insane):
    headers = {"x-request-id": insane.encode("latin-1")}
    for method in ("GET", "POST"):
        response = house.client.request(method, house.url + path, headers=headers)
        assert response.headers["x-request-id"] != insane
        assert response.headers["x-request-id"].startswith(("req_", "ex_"))


WIRE = {
    "no HTTP": (b"\x00\x01\x02\r\n\r\n", 400, "invalid_http"),
    "an endless head": (b"GET /healthz HTTP/1.1\r\n" + b"x-a: b\r\n" * 100_000, 431, "head_too_large"),
    "a head that does not come": (b"GET /healthz HTTP/1.1\r\nx-a:", 408, "request_timeout"),
    "a body that does not come": (request(f"/v1/{CHAT}", b"{}")[:-1], 408, "request_timeout"),
    "feedback that does not come": (request("/v1/feedback", b"{}", b"AUTHORIZATION")[:-1], 408, "request_timeout"),
}


@pytest.mark.parametrize(("raw", "status", "code"), WIRE.values(), ids=WIRE)
def test_what_is_no_whole_request_is_refused_in_the_shape_too(house, raw, status, code):
    with RawClient(house.url) as client:
        client.send(raw.replace(b"AUTHORIZATION", f"authorization: Bearer {house.keys['all']}".encode()))
        (answer,) = client.read()
        assert client.closed
    error = assert_refusal(answer.status, answer.headers, answer.body)
    assert (answer.status, error["code"]) == (status, code)
    assert answer.headers["connection"] == "close"


def test_a_teachers_refusal_keeps_its_status_in_openais_shape(gateway):
    gateway.teacher.behaviour = "error"
    response = gateway.ask("hello")
    assert_refusal(response.status_code, response.headers, response.content)
    assert response.json()["error"]["message"] == "too fast"
    (record,) = gateway.records()
    assert (record.answered_by, record.status, record.reason) == (Answerer.NOBODY, 429, Reason.LOW_CONFIDENCE)


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
        structlog.configure(processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()])
        stack.callback(structlog.reset_defaults)
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


def test_without_student_and_teacher_nobody_is_ready(tmp_path):
    with ExitStack() as stack:
        nobody = f"http://127.0.0.1:{free_port()}"
        gateway = run_gateway(stack, tmp_path, nobody, teacher={"base_url": f"{nobody}/v1"})
        assert_shape(httpx.get(f"{gateway.url}/readyz"), 503, "unavailable", model=False)
        assert httpx.get(f"{gateway.url}/healthz").json() == {"status": "ok"}


def test_the_student_down_costs_nobody_an_answer(tmp_path):
    with ExitStack() as stack:
        gateway = run_gateway(stack, tmp_path, f"http://127.0.0.1:{free_port()}")
        gateway.wait(lambda: httpx.get(f"{gateway.url}/readyz").status_code == 200)
        assert httpx.get(f"{gateway.url}/readyz").json()["tasks"] == {"desk": "teacher"}
        answer = gateway.ask("where is it")
        assert answer.headers["x-tutelage-reason"] == "student_unavailable"
        assert answer.json()["choices"][0]["message"]["content"] == "refund_status"


def test_ready_names_who_answers(gateway):
    assert httpx.get(f"{gateway.url}/readyz").json()["tasks"] == {"desk": "student"}
    gateway.trust()
    assert len(LABELS) == 3
    gateway.wait(lambda: httpx.get(f"{gateway.url}/readyz").json()["tasks"] == {"desk": "teacher"})
