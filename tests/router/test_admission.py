"""Who is let in, for what, and how much of it: as clients of a running gateway see it."""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import Any

import httpx
import pytest

from core.limits import NO_LIMITS, Limits
from tests.router.conftest import Running, run_gateway
from tests.support.students import LABELS

STUDENTS = "where is my parcel"
"""What the student answers, for 5 tokens and no dollars."""
TEACHERS = "hello there"
"""What the teacher answers, for 9 tokens and 34 millionths of a dollar."""
PRICE = (7 * 2.0 + 2 * 10.0) / 1e6

BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": STUDENTS}]},
    "/v1/completions": {"prompt": STUDENTS},
    "/v1/responses": {"input": STUDENTS},
    "/v1/embeddings": {"input": STUDENTS},
}
TEXTUAL = [path for path in BODIES if not path.endswith("embeddings")]

MAX_BODY_BYTES = 20_000


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, student_url: str) -> Iterator[Running]:
    """A gateway with keys and three tasks, one of them limited; Redis is away, so that it keeps limits by itself."""
    with ExitStack() as stack:
        running = run_gateway(
            stack,
            tmp_path_factory.mktemp("admission"),
            student_url,
            gateway={"max_body_bytes": MAX_BODY_BYTES},
            further={"mail": {}, "narrow": {"limits": {"requests_per_minute": 3}}},
        )
        running.trust(*LABELS)
        running.ledger.keys.create("first", actor="a test", at=time.time())
        running.wait(lambda: running.ask(STUDENTS).status_code == 401)
        yield running


@pytest.fixture
def new_key(house: Running) -> Callable[..., dict[str, str]]:
    """Create a key and wait until the gateway knows it: the header that holds it."""
    return lambda *tasks, **limits: create_key(house, *tasks, **limits)


_names = (f"key-{number}" for number in itertools.count())


def create_key(running: Running, *tasks: str, **limits: float) -> dict[str, str]:
    given = Limits(**limits) if limits else NO_LIMITS  # type: ignore[arg-type]  # numbers of requests are whole
    _, secret = running.ledger.keys.create(next(_names), actor="a test", at=time.time(), tasks=tasks, limits=given)
    header = {"authorization": f"Bearer {secret}"}
    running.wait(lambda: httpx.get(f"{running.url}/v1/models", headers=header).status_code == 200)
    return header


def remaining(answer: httpx.Response, dimension: str) -> int:
    return int(answer.headers[f"x-ratelimit-remaining-{dimension}"])


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def test_a_gateway_is_open_until_a_key_is_created_and_a_revoked_key_opens_nothing(gateway):
    nobody, anybody = {}, {"authorization": "Bearer sk-whatever"}
    assert gateway.ask(STUDENTS, headers=nobody).status_code == 200
    assert gateway.ask(STUDENTS, headers=anybody).status_code == 200, "clients must send something, whatever it is"

    begun = time.monotonic()
    holder = gateway.create_key("app")
    gateway.wait(lambda: gateway.ask(STUDENTS, headers=nobody).status_code == 401)
    assert time.monotonic() - begun < 5, "soon after gateway.refresh_seconds"
    assert gateway.ask(STUDENTS, headers=holder).status_code == 200
    assert code_of(gateway.ask(STUDENTS, headers=anybody)) == (401, "invalid_api_key")

    gateway.keys_command("revoke", "app", "--yes")
    gateway.wait(lambda: gateway.ask(STUDENTS, headers=holder).status_code == 401)
    for headers in (nobody, anybody, holder):
        assert code_of(gateway.ask(STUDENTS, headers=headers)) == (401, "invalid_api_key")
        assert httpx.get(f"{gateway.url}/v1/models", headers=headers).status_code == 401
    assert httpx.get(f"{gateway.url}/readyz").status_code == 200, "whoever watches the process needs no key"


@pytest.mark.parametrize(
    ("path", "stream"),
    [(path, stream) for path in BODIES for stream in (False, True) if "embed" not in path or not stream],
)
def test_a_key_is_for_its_tasks_at_every_address(house, new_key, path, stream):
    def ask(headers: dict[str, str], model: str) -> httpx.Response:
        body = {"model": model, "stream": stream} | BODIES[path]
        return httpx.post(house.url + path, json=body, headers=headers)

    mail = new_key("mail")
    asked = len(house.teacher.requests)
    for name in ("desk", "gpt-4o"):
        refused = ask(mail, name)
        assert code_of(refused) == (403, "model_not_allowed")
        assert refused.json()["error"]["param"] == "model"
        assert "it may use mail" in refused.json()["error"]["message"]
    assert len(house.teacher.requests) == asked
    assert ask(mail, "mail").status_code == 200
    assert ask(new_key("desk", "mail"), "gpt-4o").status_code == 200
    assert ask(new_key(), "desk").status_code == 200


def test_models_are_those_that_the_key_may_use(house, new_key):
    def listed(headers: dict[str, str]) -> set[str]:
        return {model["id"] for model in httpx.get(f"{house.url}/v1/models", headers=headers).json()["data"]}

    desk, everything = new_key("desk"), new_key()
    assert listed(desk) == {"desk", "gpt-4o"}
    assert listed(everything) == {"desk", "gpt-4o", "mail", "narrow"}
    assert code_of(httpx.get(f"{house.url}/v1/models/mail", headers=desk)) == (403, "model_not_allowed")
    assert httpx.get(f"{house.url}/v1/models/gpt-4o", headers=desk).status_code == 200


def test_feedback_is_for_the_keys_tasks(house, new_key):
    truth = {"exchange": "x", "label": "praise", "model": "desk"}
    taken = len(house.feedback())
    answer = httpx.post(f"{house.url}/v1/feedback", json=truth, headers=new_key("mail"))
    assert code_of(answer) == (403, "model_not_allowed")
    assert httpx.post(f"{house.url}/v1/feedback", json=truth).status_code == 401
    assert len(house.feedback()) == taken
    assert httpx.post(f"{house.url}/v1/feedback", json=truth, headers=new_key("desk")).status_code == 201


@pytest.mark.parametrize("text", [STUDENTS, TEACHERS])
def test_requests_a_minute_are_counted_to_the_one(house, new_key, text):
    key = new_key(requests_per_minute=4)
    for left in (3, 2, 1, 0):
        answer = house.ask(text, headers=key)
        assert answer.status_code == 200
        assert remaining(answer, "requests") == left
        assert answer.headers["x-ratelimit-limit-requests"] == "4"
    recorded = len(house.records())
    refused = house.ask(text, headers=key)
    assert code_of(refused) == (429, "rate_limit_exceeded")
    assert "limited to 4 requests a minute" in refused.json()["error"]["message"]
    assert 5 < float(refused.headers["retry-after-ms"]) / 1000 <= 15.1, "one in fifteen seconds"
    assert int(refused.headers["retry-after"]) >= float(refused.headers["retry-after-ms"]) / 1000
    assert remaining(refused, "requests") == 0
    assert refused.headers["x-ratelimit-reset-requests"].startswith(("1m", "5"))
    assert len(house.records()) == recorded
    assert house.ask(text, headers=new_key(requests_per_minute=4)).status_code == 200, "another key has its own"


@pytest.mark.parametrize("stream", [False, True])
def test_tokens_a_minute_are_those_that_were_used(house, new_key, stream):
    key = new_key(tokens_per_minute=1000)
    answers = [house.ask(text, headers=key, stream=stream) for text in (STUDENTS, TEACHERS, STUDENTS)]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    # A stream's head goes out before anybody knows what it takes: the estimate stands there, and the next one knows.
    assert answers[0].headers["x-ratelimit-limit-tokens"] == "1000"
    assert 1000 - 5 - 9 - 5 <= remaining(answers[2], "tokens") <= 1000 - 5 - 9 - 5 + 60, "and what has come back since"


def test_a_request_that_no_minute_can_hold_is_told_so(house, new_key):
    refused = house.ask(STUDENTS, headers=new_key(tokens_per_minute=100), max_tokens=500)
    assert code_of(refused) == (429, "rate_limit_exceeded")
    assert refused.headers["x-should-retry"] == "false"
    assert "`max_tokens`" in refused.json()["error"]["message"]


def test_an_answer_that_took_more_than_was_foreseen_is_a_debt(house, new_key):
    key = new_key(tokens_per_minute=100)
    house.teacher.prompt_tokens = 400
    try:
        assert house.ask(TEACHERS, headers=key).status_code == 200
    finally:
        house.teacher.prompt_tokens = 7
    refused = house.ask(STUDENTS, headers=key)
    assert code_of(refused) == (429, "rate_limit_exceeded")
    assert remaining(refused, "tokens") == 0
    assert float(refused.headers["retry-after"]) > 120, "300 tokens of debt at 100 a minute"


def test_a_tasks_limit_holds_over_all_keys_and_the_tighter_one_is_shown(house, new_key):
    one, other = new_key(requests_per_minute=100), new_key(requests_per_minute=2)
    left = [house.ask(TEACHERS, model="narrow", headers=key) for key in (one, other, one)]
    assert [answer.status_code for answer in left] == [200, 200, 200]
    assert [answer.headers["x-ratelimit-limit-requests"] for answer in left] == ["3", "2", "3"]
    assert [remaining(answer, "requests") for answer in left] == [2, 1, 0]
    refused = house.ask(TEACHERS, model="narrow", headers=one)
    assert code_of(refused) == (429, "rate_limit_exceeded")
    assert "the task 'narrow' is limited to 3 requests a minute" in refused.json()["error"]["message"]
    assert remaining(house.ask(TEACHERS, model="mail", headers=one), "requests") >= 97, "what is refused takes nothing"


@pytest.mark.parametrize("period", ["dollars_per_day", "dollars_per_month"])
@pytest.mark.parametrize("stream", [False, True])
def test_dollars_are_spent_by_the_teachers_answers_alone(house, new_key, period, stream):
    key = new_key(**{period: 2.5 * PRICE})
    refusals = house.metric("tutelage_gateway_limiter_refusals_total", limit=period.removeprefix("dollars_per_"))
    for _ in range(5):
        assert house.ask(STUDENTS, headers=key, stream=stream).status_code == 200
    for _ in range(3):
        assert house.ask(TEACHERS, headers=key, stream=stream).status_code == 200
    asked = len(house.teacher.requests)
    refused = house.ask(TEACHERS, headers=key, stream=stream)
    assert code_of(refused) == (429, "insufficient_quota")
    assert refused.headers["x-should-retry"] == "false"
    assert "retry-after" not in refused.headers
    assert len(house.teacher.requests) == asked
    after = house.metric("tutelage_gateway_limiter_refusals_total", limit=period.removeprefix("dollars_per_"))
    assert after == refusals + 1
    assert house.ask(TEACHERS, headers=new_key(**{period: 1.0})).status_code == 200


def test_a_body_that_is_too_large_is_refused_before_it_has_come(house, new_key):
    host, port = house.url.removeprefix("http://").split(":")
    ((name, value),) = new_key().items()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n{name}: {value}\r\ncontent-length: 1000000000\r\n\r\n"
    with closing(socket.create_connection((host, int(port)), timeout=5)) as connection:
        connection.sendall(head.encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("path", [*BODIES, "/v1/feedback"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_is_a_413(house, new_key, path, chunked):
    piece = b" " * 8192
    body = itertools.repeat(piece, 12) if chunked else piece * 12
    answer = httpx.post(house.url + path, content=body, headers=new_key())
    assert code_of(answer) == (413, "body_too_large")
    assert house.metric("tutelage_gateway_in_flight") == 0


def test_too_many_at_once_are_shed_at_once_and_nobody_waits_past_the_deadline(tmp_path, student_url):
    with ExitStack() as stack:
        running = run_gateway(
            stack, tmp_path, student_url, gateway={"max_in_flight": 2, "deadline_seconds": 1.5, "student_seconds": 1.0}
        )
        running.trust(*LABELS)
        running.teacher.behaviour = "hang"
        pool = stack.enter_context(ThreadPoolExecutor(2))
        begun = time.monotonic()
        hanging = [pool.submit(running.ask, TEACHERS, stream=stream) for stream in (False, True)]
        running.wait(lambda: len(running.teacher.requests) == 2)
        asked = time.monotonic()
        shed = running.ask(STUDENTS)
        assert time.monotonic() - asked < 0.5
        assert code_of(shed) == (429, "overloaded")
        assert shed.headers["retry-after"] == "1"
        answers = [each.result(10) for each in hanging]
        assert 1.4 < time.monotonic() - begun < 4
        assert [code_of(answer) for answer in answers] == [(504, "deadline_exceeded")] * 2
        assert running.ask(STUDENTS).status_code == 200, "there is room again"
        assert running.teacher.cancelled.wait(5)
        assert sorted(record.status for record in running.records()) == [200, 504, 504]
