"""Clients that send slowly, read slowly, send too much, or go: the gateway waits for them so long, and no longer."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

import pytest

from tests.abuse.house import READ_SECONDS, WRITE_SECONDS, House
from tests.support.errors import assert_refusal
from tests.support.raw_client import Answer, request

CHAT, FEEDBACK = "/v1/chat/completions", "/v1/feedback"
LATE = 1.5
"""How much later than its setting says a time-out may come, on a busy machine too."""


def assert_refused(answers: list[Answer], status: int, code: str) -> None:
    (answer,) = answers
    error = assert_refusal(answer.status, answer.headers, answer.body)
    assert (answer.status, error["code"]) == (status, code)
    assert answer.headers["connection"] == "close"


@pytest.fixture
def patience() -> Iterator[None]:
    """The test takes as long as a request may take to come."""
    begun = time.monotonic()
    yield
    assert READ_SECONDS * 0.95 <= time.monotonic() - begun <= READ_SECONDS * 1.125 + LATE


def test_a_connection_on_which_nothing_is_asked_is_closed_in_silence(house: House, patience: None):
    with house.connect() as client:
        assert client.read() == []
        assert client.closed


def test_a_head_in_drops_is_given_up(house: House, patience: None):
    head = itertools.chain([b"GET /healthz HTTP/1.1\r\nx: "], itertools.repeat(b"y"))
    with house.connect() as client:
        assert_refused(client.trickle(head, pause=0.1), 408, "request_timeout")


@pytest.mark.parametrize("path", [CHAT, FEEDBACK])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_in_drops_is_given_up(house: House, patience: None, path: str, chunked: bool):
    framing = b"transfer-encoding: chunked" if chunked else b"content-length: 90000"
    head = request(path, None, house.authorization, framing, b"x-request-id: slow-1", method="POST")
    body = itertools.repeat(b"1\r\n \r\n" if chunked else b" ")
    with house.connect() as client:
        answers = client.trickle(itertools.chain([head], body), pause=0.1)
    assert_refused(answers, 408, "request_timeout")
    assert answers[0].headers["x-request-id"] == "slow-1"


def test_line_ends_are_no_request(house: House, patience: None):
    with house.connect() as client:
        client.send(request("/healthz", None))
        client.read(1)
        client.trickle(itertools.repeat(b"\r\n"), pause=0.1)
        assert client.closed
        assert len(client.answers) == 1


def test_a_second_request_that_does_not_come_is_given_up_after_the_first_is_answered(house: House):
    house.teacher.behaviour = "hang"
    begun = time.monotonic()
    try:
        with house.connect() as client:
            client.send(house.chat("hello"), b"GET /healthz HTTP/1.1\r\nx: ")
            assert client.read(1, seconds=READ_SECONDS * 2) == [], "the first is answered still"
            house.teacher.behaviour = "answer"
    finally:
        house.teacher.behaviour = "answer"
    assert time.monotonic() - begun >= READ_SECONDS * 1.9


def test_a_body_without_end_behind_an_early_answer_ends_the_connection(house: House, patience: None):
    head = request(FEEDBACK, None, b"transfer-encoding: chunked", method="POST")
    with house.connect() as client:
        answers = client.trickle(itertools.chain([head], itertools.repeat(b"1\r\n \r\n")), pause=0.1)
    assert [answer.status for answer in answers] == [401], "one answer, and nothing behind it"


@pytest.mark.parametrize(
    "raw",
    [
        b"GET /healthz HTTP/1.1\r\n" + b"x: yyyyyyyy\r\n" * 20_000,
        b"GET /healthz HTTP/1.1\r\nx: " + b"y" * 200_000,
        b"GET /" + b"y" * 200_000,
        b"GET /healthz HTTP/1.1\r\n" + b"y" * 200_000,
        b"POST /v1/feedback HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1;" + b"y" * 200_000,
        b"POST /v1/chat/completions HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1;" + b"y" * 200_000,
        b"POST /v1/chat/completions HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n" + b"x: yyyyyyyy\r\n" * 20_000,
    ],
    ids=["headers", "header", "address", "name", "extension", "extension to a model", "trailers"],
)
def test_a_head_without_end_is_refused(house: House, raw: bytes):
    answers = house.exchange(*(raw[at : at + 10_000] for at in range(0, len(raw), 10_000)), pause=0.001)
    if b"feedback" in raw:
        assert [answer.status for answer in answers] == [401]
    else:
        assert_refused(answers, 431, "head_too_large")


@pytest.mark.parametrize("announced", [True, False])
def test_a_large_body_is_refused_before_it_has_come_and_the_client_can_read_that(house: House, announced: bool):
    framing = b"content-length: 50000000" if announced else b"transfer-encoding: chunked"
    piece = b"x" * 20_000
    sent = piece if announced else b"%x\r\n%b\r\n" % (len(piece), piece)
    with house.connect() as client:
        client.send(request(CHAT, None, house.authorization, framing, method="POST"))
        taken = client.send(*itertools.repeat(sent, 100))
        assert_refused(client.read(), 413, "body_too_large")
        assert client.closed
    assert taken, "a client that sends all before it reads must not lose the answer"


def test_a_client_that_reads_nothing_is_cut_off_and_so_is_its_stream(house: House):
    house.teacher.behaviour = "flood"
    house.teacher.cancelled.clear()
    begun = time.monotonic()
    try:
        with house.connect(receive_buffer=4096) as client:
            client.send(house.chat("hello", stream=True))
            assert house.teacher.cancelled.wait(30), "the teacher goes on"
            assert time.monotonic() - begun >= WRITE_SECONDS * 0.9
            client.read()
            assert client.closed
            assert not client.answers[0].complete, "no fake finish"
    finally:
        house.teacher.behaviour = "answer"
    house.is_well()


def test_a_client_that_reads_slowly_is_not_cut_off(house: House):
    house.teacher.behaviour = "flood"
    house.teacher.cancelled.clear()
    try:
        with house.connect(receive_buffer=4096) as client:
            client.send(house.chat("hello", stream=True))
            begun = time.monotonic()
            while time.monotonic() - begun < WRITE_SECONDS * 2.5:
                client.read_some()
                time.sleep(0.002)
            assert not client.closed
            assert not house.teacher.cancelled.is_set()
    finally:
        house.teacher.behaviour = "answer"
    assert house.teacher.cancelled.wait(10)
    house.is_well()


@pytest.mark.parametrize("cut", [30, -20, -1])
def test_a_client_that_goes_in_mid_upload_leaves_nothing(house: House, cut: int):
    gone = house.metric("tutelage_gateway_errors_total", "internal_error")
    for path in (CHAT, FEEDBACK):
        raw = request(path, b'{"model": "desk"}', house.authorization)
        for _ in range(5):
            with house.connect() as client:
                client.send(raw[:cut])
    house.is_well()
    assert house.metric("tutelage_gateway_errors_total", "internal_error") == gone


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_while_it_is_answered_cancels_the_teacher(house: House, stream: bool):
    house.teacher.behaviour = "stall" if stream else "hang"
    try:
        for further in (b"", request("/healthz", None)):  # what is pipelined must not hide that it has gone
            house.teacher.cancelled.clear()
            asked = len(house.teacher.requests)
            with house.connect() as client:
                client.send(house.chat("hello", stream=stream), further)
                while len(house.teacher.requests) == asked:
                    time.sleep(0.01)
                if stream:
                    client.read(1, seconds=0.2)
            assert house.teacher.cancelled.wait(5)
    finally:
        house.teacher.behaviour = "answer"
    house.is_well()
