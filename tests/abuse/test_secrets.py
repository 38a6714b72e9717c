"""No key is ever seen again: in an answer, a log, a record, a metric or a span."""

from __future__ import annotations

import base64
import io
import logging
import sys

import pytest
import structlog

from core.telemetry import configure_logging
from tests.abuse.house import TELL_TALES, House
from tests.support.errors import assert_refusal
from tests.support.raw_client import Answer, request

CLOSE = b"connection: close"


def assert_silent(house: House, answers: list[Answer]) -> None:
    """Assert that no secret stands in these answers, in whatever part."""
    for answer in answers:
        told = answer.body + repr(answer.headers).encode()
        assert not any(secret in told for secret in house.secrets)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models", "/v1/models/desk", "/v1/feedback"])
def test_a_key_that_is_sent_wrongly_is_not_repeated(house: House, path: str):
    key = house.key.encode()
    wrong = [
        b"authorization: " + key,
        b"authorization: Basic " + base64.b64encode(b"user:" + key),
        b"authorization: Token " + key,
        b"authorization: Bearer" + key,
        b"authorization: Bearer " + key + b"x",
        b"authorization: Bearer " + key + b" " + key,
        b"authorization: Bearer " + key.upper(),
        b"authorization: Bearer \xff" + key,
        b"authorization: Bearer " + key * 100,
        b"x-api-key: " + key,
        b"api-key: " + key,
        b"cookie: key=" + key,
    ]
    body = None if "models" in path else b"{}"
    for header in wrong:
        answers = house.exchange(request(path, body, header, CLOSE))
        assert [answer.status for answer in answers] == [401]
        assert_refusal(answers[0].status, answers[0].headers, answers[0].body)
        assert_silent(house, answers)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("task", TELL_TALES)
@pytest.mark.parametrize("path", ["chat/completions", "responses"])
def test_what_a_teacher_repeats_is_told_without_its_key(house: House, task: str, stream: bool, path: str):
    body = b'{"model": "%s", "messages": [{"role": "user", "content": "hello"}], "input": "hello", "stream": %s}'
    raw = request(f"/v1/{path}", body % (task.encode(), b"true" if stream else b"false"), house.authorization, CLOSE)
    answers = house.exchange(raw)
    assert_silent(house, answers)
    if task == "echo":
        assert b"Bearer ***" in answers[0].body, "it was repeated, but for the key"


def test_a_refused_request_does_not_repeat_the_key_of_its_head(house: House):
    for rubbish in (b"\x00", b"content-length: x\r\n\r\n", b"x\r\n" * 30_000, b"transfer-encoding: y\r\n\r\n"):
        answers = house.exchange(b"POST /v1/models HTTP/1.1\r\n" + house.authorization + b"\r\n" + rubbish)
        assert answers
        assert_silent(house, answers)


@pytest.mark.parametrize("terminal", [False, True])
def test_a_logged_defect_shows_no_local_variables(monkeypatch: pytest.MonkeyPatch, terminal: bool):
    """They would show the headers of the request."""

    class Stream(io.StringIO):
        def isatty(self) -> bool:
            return terminal

    def fail() -> None:
        authorization = "Bearer tut-marked"
        raise RuntimeError(f"a defect that knows {len(authorization)} characters")

    stream = Stream()
    monkeypatch.setattr(sys, "stderr", stream)
    before = structlog.get_config(), logging.root.handlers[:], logging.root.level
    try:
        configure_logging("test")
        try:
            fail()
        except RuntimeError:
            structlog.get_logger().exception("defect")
            logging.getLogger("uvicorn.error").exception("defect")
    finally:
        config, logging.root.handlers[:], level = before
        logging.root.setLevel(level)
        structlog.configure(**config)
        structlog.contextvars.clear_contextvars()
    assert stream.getvalue().count("a defect that knows") == 2
    assert "tut-marked" not in stream.getvalue()
