"""What is stored of what clients said, and what is not: by the files of a running gateway."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from core.privacy import HASHED
from core.records import Answerer, Exchange
from tests.router.conftest import Running, run_gateway
from tests.support.students import LABELS

USER = "mallory-7331"
STUDENTS = "where is xyzzy"
TEACHERS = "hello xyzzy"
SHADOW = {"shadow": {"floor": 1.0, "unsure": 1.0, "calls_per_hour": None}}

REQUESTS: list[tuple[str, dict[str, Any]]] = [
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": STUDENTS}]}),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": TEACHERS}]}),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": TEACHERS}], "stream": True}),
    ("/v1/chat/completions", {"messages": [{"role": "system", "content": "xyzzy"}, {"role": "user", "content": "a"}]}),
    ("/v1/completions", {"prompt": STUDENTS}),
    ("/v1/responses", {"input": TEACHERS, "stream": True}),
    ("/v1/embeddings", {"input": TEACHERS}),
]
"""Everything that reaches the log by a way of its own; each holds `xyzzy`."""


def start(stack: ExitStack, factory: pytest.TempPathFactory, student_url: str, **privacy: Any) -> Running:
    """A gateway with this privacy, and a teacher that says more than a label."""
    permitted: dict[str, Any] = {"teacher": {"data_may_leave": True}, "task": {"privacy": privacy}}
    if privacy.get("store", "full") == "full":
        permitted["task"] |= SHADOW
    running = run_gateway(stack, factory.mktemp("privacy"), student_url, **permitted)
    running.trust(*LABELS)
    running.teacher.label = "it is plugh, says ann@example.com"
    return running


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, student_url: str) -> Iterator[Running]:
    with ExitStack() as stack:
        yield start(stack, tmp_path_factory, student_url)


@pytest.fixture(scope="module", params=["hashed", "none"])
def discreet(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, student_url: str
) -> Iterator[Running]:
    with ExitStack() as stack:
        yield start(stack, tmp_path_factory, student_url, store=request.param)


@pytest.fixture(scope="module")
def redacting(tmp_path_factory: pytest.TempPathFactory, student_url: str) -> Iterator[Running]:
    with ExitStack() as stack:
        rules = [{"name": "email"}, {"pattern": "xyzzy[0-9]*", "replacement": "<word>"}]
        yield start(stack, tmp_path_factory, student_url, redact=rules)


def ask(gateway: Running, path: str, body: dict[str, Any]) -> tuple[httpx.Response, Exchange]:
    """Ask, and find the record of it."""
    answer = httpx.post(gateway.url + path, json={"model": "desk", "user": USER} | body, timeout=20)
    assert answer.status_code == 200, answer.text
    identifier = answer.headers["x-tutelage-exchange"]
    (record,) = [record for record in gateway.records() if record.id == identifier]
    return answer, record


def files_with(gateway: Running, word: str) -> list[str]:
    """The files in the gateway's state that hold a word, in any case."""
    files = (path for path in gateway.settings.state.rglob("*") if path.is_file())
    return [str(path) for path in files if word.encode().lower() in path.read_bytes().lower()]


@pytest.mark.parametrize(("path", "body"), REQUESTS)
def test_full_keeps_what_was_said(plain, path, body):
    _, record = ask(plain, path, body)
    kept = (record.text or "").encode() + record.request
    assert b"xyzzy" in kept
    assert record.user == USER
    assert not record.redacted
    assert record.text_hash == record.output_hash == ""
    if record.answered_by is Answerer.TEACHER and not path.endswith("embeddings"):
        assert record.output == plain.teacher.label
    if record.answered_by is Answerer.STUDENT:
        assert (record.shadow_probability, record.shadow) == (1.0, True)


@pytest.mark.parametrize(("path", "body"), REQUESTS)
def test_nothing_of_what_was_said_reaches_the_disk(discreet, path, body):
    _, record = ask(discreet, path, body)
    _, again = ask(discreet, path, body)
    assert (record.text, record.request, record.output) == (None, b"", None)
    assert (record.shadow, record.shadow_probability) == (False, 0.0)
    assert record.user.startswith(HASHED)
    assert record.user == again.user, "so that deletion by user works"
    hashes = (record.text_hash, record.output_hash) if record.output_hash else (record.text_hash,)
    if discreet.settings.tasks["desk"].privacy.store == "hashed":
        assert all(each.startswith(HASHED) for each in hashes)
        assert record.text_hash == again.text_hash, "equal texts can be counted"
    else:
        assert set(hashes) == {""}
    if record.student is not None:
        assert record.student.vector == b""
    for word in ("xyzzy", "plugh", USER, "ann@example.com"):
        assert not files_with(discreet, word)


def test_a_stream_that_breaks_off_and_a_client_that_leaves_tell_nothing_either(discreet):
    for behaviour in ("cut", "stall"):
        discreet.teacher.behaviour = behaviour
        recorded = len(discreet.records())
        body = {"model": "desk", "messages": [{"role": "user", "content": TEACHERS}], "stream": True, "user": USER}
        try:
            with httpx.stream("POST", f"{discreet.url}/v1/chat/completions", json=body, timeout=5) as answer:
                pieces = answer.iter_bytes()
                assert b"it is plugh" in next(pieces)
        finally:
            discreet.teacher.behaviour = "answer"
        discreet.wait(lambda: len(discreet.records()) > recorded)  # noqa: B023  # it is called here and now
        record = discreet.records()[-1]
        assert (record.complete, record.text, record.output) == (False, None, None)
        assert record.cost_usd > 0
    for word in ("xyzzy", "plugh", USER):
        assert not files_with(discreet, word)


def test_what_a_teacher_words_in_a_refusal_is_told_and_not_kept(discreet):
    discreet.teacher.behaviour = "error"
    try:
        answer = discreet.ask(TEACHERS)
    finally:
        discreet.teacher.behaviour = "answer"
    assert answer.status_code == 429
    assert answer.json()["error"]["message"] == "too fast"
    assert discreet.records()[-1].error == ""
    assert not files_with(discreet, "too fast")


def test_what_is_redacted_is_answered_whole_stored_redacted_and_never_drawn(redacting):
    answer, record = ask(redacting, *REQUESTS[0])
    assert answer.json()["choices"][0]["message"]["content"] == "order_status", "the student read it as it came"
    assert record.text == "where is <word>"
    assert record.redacted
    assert (record.shadow, record.shadow_probability) == (False, 0.0)

    answer, record = ask(redacting, *REQUESTS[1])
    assert redacting.teacher.requests[-1]["messages"][0]["content"] == TEACHERS, "and so did the teacher"
    assert answer.json()["choices"][0]["message"]["content"] == redacting.teacher.label
    assert (record.text, record.output) == ("hello <word>", "it is plugh, says [email]")
    assert record.redacted

    answer, record = ask(redacting, *REQUESTS[2])
    assert "ann@example.com" in answer.text
    assert (record.text, record.output) == ("hello <word>", "it is plugh, says [email]")

    _, record = ask(redacting, *REQUESTS[3])
    assert record.text is None
    assert b"<word>" in record.request
    assert record.redacted
    for word in ("xyzzy", "ann@example.com"):
        assert not files_with(redacting, word)


def test_what_needs_no_redaction_is_kept_and_drawn(redacting):
    _, record = ask(redacting, "/v1/chat/completions", {"messages": [{"role": "user", "content": "where is it"}]})
    assert (record.text, record.redacted) == ("where is it", False)
    assert (record.shadow, record.shadow_probability) == (True, 1.0)
    assert record.user == USER, "no rule finds it"
    body = {"messages": [{"role": "user", "content": "where is it"}], "user": "bob@example.com"}
    assert ask(redacting, "/v1/chat/completions", body)[1].user.startswith(HASHED)
    assert not files_with(redacting, "bob@example")


def test_a_comment_of_feedback_is_stored_as_a_text_is(redacting, discreet):
    truth = {"exchange": "x", "label": "praise", "comment": f"ask carol@example.com, {time.time()}"}
    for gateway in (redacting, discreet):
        assert httpx.post(f"{gateway.url}/v1/feedback", json=truth).status_code == 201
        assert not files_with(gateway, "carol@example.com")
    assert redacting.feedback()[-1].comment.startswith("ask [email], ")
    assert discreet.feedback()[-1].comment == ""
