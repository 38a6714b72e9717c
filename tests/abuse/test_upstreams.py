"""Upstreams that answer with rubbish, half a chunk, or for ever: the client hears the right thing, and in time."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import psutil
import pytest

from tests.abuse.house import TEACHER_KEY, TEACHER_KEY_ENV, teacher_key
from tests.router.conftest import Running, run_gateway
from tests.support.errors import assert_error, assert_refusal
from tests.support.rude_upstream import (
    BAD,
    BEHAVIOURS,
    LATE,
    ODD,
    REDIRECTS,
    REFUSING,
    STREAM_BAD,
    STREAM_CUT,
    STREAM_LATE,
    RudeUpstream,
    rude_upstream,
)

DEADLINE = 0.6
PATIENT: dict[str, Any] = {"consecutive_failures": 10**6, "min_requests": 10**6}
TIMEOUTS = {"connect": 0.5, "read": 0.5, "write": 0.5, "pool": 0.5}
STREAMED = ("chat/completions", "completions", "responses")


@dataclass
class World:
    """A gateway with a teacher of every kind, and one whose student is of every kind."""

    rude: RudeUpstream
    teachers: Running
    students: Running
    client: httpx.Client

    def ask(self, running: Running, path: str, model: str, text: str = "hello", **more: Any) -> httpx.Response:
        body: dict[str, Any] = {"messages": [{"role": "user", "content": text}], "prompt": text, "input": text}
        name = {"chat/completions": "messages", "completions": "prompt"}.get(path, "input")
        sent = {"model": model, name: body[name]} | more
        response = self.client.post(f"{running.url}/v1/{path}", json=sent)
        assert TEACHER_KEY not in response.text + repr(response.headers)
        return response


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with ExitStack() as stack:
        stack.enter_context(teacher_key())
        rude = stack.enter_context(rude_upstream())
        names = [*BEHAVIOURS, *REDIRECTS]

        def teacher(name: str) -> dict[str, Any]:
            common = {"model": "m", "api_key_env": TEACHER_KEY_ENV, "timeouts": TIMEOUTS, "breaker": PATIENT}
            return {"teacher": {"base_url": f"{rude.url}/{name}/v1"} | common}

        student = {"url": rude.url, "timeouts": TIMEOUTS, "breaker": PATIENT}
        gateway = {"deadline_seconds": DEADLINE, "student_seconds": 0.3}
        teachers = run_gateway(
            stack,
            tmp_path_factory.mktemp("teachers"),
            "http://127.0.0.1:9",
            gateway=gateway,
            further={name: teacher(name) for name in names},
        )
        students = run_gateway(
            stack,
            tmp_path_factory.mktemp("students"),
            rude.url,
            gateway=gateway,
            student=student,
            further={name: {} for name in names},
        )
        world = World(rude, teachers, students, stack.enter_context(httpx.Client(timeout=20)))
        yield world
        assert not rude.followed, "a redirection was followed"
        for running in (teachers, students):
            assert httpx.get(f"{running.url}/healthz").status_code == 200
            assert running.metric("tutelage_gateway_errors_total", code="internal_error") == 0
            running.wait(lambda running=running: running.metric("tutelage_gateway_in_flight") == 0)
            running.wait(lambda running=running: running.metric("tutelage_gateway_upstream_outstanding") == 0)
            told = httpx.get(f"{running.url}/metrics").text + repr(running.records())
            assert TEACHER_KEY not in told
        teachers.wait(lambda: _connections(rude.port) < len(names) + 20)  # one each, by which its health is probed


def _connections(port: int) -> int:
    """Connections from here to this port that are not closed."""
    found = psutil.Process().net_connections("tcp")
    return sum(bool(each.raddr) and each.raddr.port == port and each.status == "ESTABLISHED" for each in found)


def assert_code(response: httpx.Response, status: int, code: str | None) -> None:
    error = assert_refusal(response.status_code, response.headers, response.content)
    assert (response.status_code, error["code"]) == (status, code), error
    assert response.headers["x-tutelage-exchange"]
    assert len(error["message"]) < 3000


@pytest.mark.parametrize("path", [*STREAMED, "embeddings"])
@pytest.mark.parametrize("name", [*BAD, *REDIRECTS])
def test_a_teacher_that_has_not_answered_is_a_502(world: World, name: str, path: str):
    begun = time.monotonic()
    for stream in (False, True) if path in STREAMED else (False,):
        assert_code(world.ask(world.teachers, path, name, stream=stream), 502, "upstream_error")
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", LATE)
def test_a_teacher_that_does_not_come_to_an_end_is_a_504(world: World, name: str, stream: bool):
    begun = time.monotonic()
    response = world.ask(world.teachers, "chat/completions", name, stream=stream)
    assert_code(response, 504, "deadline_exceeded")
    assert response.headers["x-should-retry"] == "false"
    assert time.monotonic() - begun < DEADLINE + 1.5


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("name", "status"), [(name, status) for name, (_, status) in REFUSING.items()])
def test_a_teachers_refusal_is_passed_on_in_the_shape(world: World, name: str, status: int, stream: bool):
    response = world.ask(world.teachers, "chat/completions", name, stream=stream)
    assert_code(response, status, None)


@pytest.mark.parametrize("path", [*STREAMED, "embeddings"])
@pytest.mark.parametrize("name", ODD)
def test_an_odd_answer_is_an_answer(world: World, name: str, path: str):
    response = world.ask(world.teachers, path, name)
    assert response.status_code == 200, response.text
    assert response.json()["id"] == "x"


@pytest.mark.parametrize("path", STREAMED)
@pytest.mark.parametrize("name", STREAM_BAD)
def test_a_stream_that_is_none_is_a_502(world: World, name: str, path: str):
    assert_code(world.ask(world.teachers, path, name, stream=True), 502, "upstream_error")


@pytest.mark.parametrize("name", STREAM_LATE)
def test_a_stream_that_does_not_begin_is_a_504(world: World, name: str):
    begun = time.monotonic()
    assert_code(world.ask(world.teachers, "chat/completions", name, stream=True), 504, "deadline_exceeded")
    assert time.monotonic() - begun < DEADLINE + 1.5


@pytest.mark.parametrize("path", STREAMED)
@pytest.mark.parametrize("name", STREAM_CUT)
def test_a_stream_that_breaks_off_ends_with_an_error_event_and_no_fake_finish(world: World, name: str, path: str):
    response = world.ask(world.teachers, path, name, stream=True)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/event-stream")
    events = response.content.removesuffix(b"\n\n").split(b"\n\n")
    assert b"piece" in events[0]
    data = events[-1].split(b"data: ", 1)[1]
    if path == "responses":
        document = json.loads(data)
        assert document["type"] == "error"
        data = json.dumps({"error": document["error"]}).encode()
    assert_error(data)
    for finish in (b"[DONE]", b'"stop"', b"response.completed"):
        assert finish not in response.content


@pytest.mark.parametrize("name", [*BAD, *LATE, *REFUSING, *ODD, *REDIRECTS])
def test_a_student_that_misbehaves_costs_nobody_an_answer(world: World, name: str):
    response = world.ask(world.students, "chat/completions", name)
    assert response.status_code == 200, response.text
    assert response.json()["choices"][0]["message"]["content"] == "refund_status"
    assert response.headers["x-tutelage-reason"] in (
        "student_unavailable",
        "over_deadline",
        "retry_fallback",
        "not_trusted",
    )
