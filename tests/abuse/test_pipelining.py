"""Several requests on one connection before the first is answered, and what may go wrong among them."""

from __future__ import annotations

import time

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.abuse.house import House
from tests.support.errors import assert_refusal
from tests.support.raw_client import request

CLOSE = b"connection: close"
FUZZ = settings(
    max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


def test_answers_come_in_the_order_of_the_requests(house: House):
    texts = ["where is it", "refund", "thanks", "hello"]
    labels = ["order_status", "refund_status", "praise", "refund_status"]
    raw = b"".join(
        house.chat(text, b"x-request-id: r-%d" % number)
        + request("/v1/feedback", b"{", house.authorization, b"x-request-id: f-%d" % number)
        + request("/healthz", None, b"x-request-id: h-%d" % number)
        for number, text in enumerate(texts * 5)
    )
    answers = house.exchange(raw + request("/v1/models", None, house.authorization, CLOSE))
    *before, last = answers
    assert last.json()["object"] == "list"
    assert [answer.headers["x-request-id"] for answer in before] == [
        f"{kind}-{number}" for number in range(20) for kind in "rfh"
    ]
    said = [answer.json()["choices"][0]["message"]["content"] for answer in before[::3]]
    assert said == labels * 5


def test_rubbish_behind_requests_is_refused_after_their_answers(house: House):
    raw = house.chat("where is it") + request("/healthz", None) + house.chat("hello") + b"\x00rubbish\r\n\r\n"
    answers = house.exchange(raw)
    assert [answer.status for answer in answers] == [200, 200, 200], "closed behind the last that could be read"
    with house.connect() as client:
        client.send(house.chat("where is it"))
        client.read(1)
        client.send(b"\x00rubbish\r\n\r\n")
        _, refused = client.read()
    assert_refusal(refused.status, refused.headers, refused.body)
    assert refused.status == 400


def test_rubbish_does_not_get_into_a_stream(house: House):
    house.teacher.behaviour = "stall"
    try:
        with house.connect() as client:
            client.send(house.chat("hello", stream=True))
            client.read(1, seconds=0.3)
            client.send(b"\x00rubbish\r\n\r\n")
            client.read(1, seconds=0.3)
            (answer,) = client.answers
            assert answer.status == 200
            assert b"invalid_http" not in answer.body
            assert not client.closed
    finally:
        house.teacher.behaviour = "answer"
    house.is_well()


def test_a_flood_of_pipelined_requests_is_answered_and_bounded(house: House):
    begun = time.monotonic()
    count = 2_000
    raw = request("/v1/chat/completions", b"{}") * count
    with house.connect(seconds=30) as client:
        client.send(raw + request("/healthz", None, CLOSE))
        answers = client.read(seconds=30)
        assert client.closed
    assert [answer.status for answer in answers] == [401] * count + [200]
    assert time.monotonic() - begun < 30


_PARTS = st.sampled_from(["student", "teacher", "stream", "feedback", "models", "health", "large"])


@FUZZ
@given(kinds=st.lists(_PARTS, min_size=1, max_size=5), cuts=st.lists(st.floats(0, 1), max_size=6))
def test_however_requests_are_cut_into_packets_the_answers_are_the_same(
    house: House, kinds: list[str], cuts: list[float]
):
    raw = b"".join(_REQUESTS[kind](house) for kind in kinds) + request("/healthz", None, CLOSE)
    places = sorted(int(cut * len(raw)) for cut in cuts)
    pieces = [raw[a:b] for a, b in zip([0, *places], [*places, len(raw)], strict=True)]
    *answers, last = house.exchange(*pieces, pause=0.001)
    assert last.status == 200
    assert [answer.status for answer in answers] == [_STATUSES[kind] for kind in kinds]


_REQUESTS = {
    "student": lambda house: house.chat("where is it"),
    "teacher": lambda house: house.chat("hello"),
    "stream": lambda house: house.chat("where", stream=True),
    "feedback": lambda house: request(
        "/v1/feedback", b'{"exchange": "x", "label": "praise", "model": "desk"}', house.authorization
    ),
    "models": lambda house: request("/v1/models", None, house.authorization),
    "health": lambda house: request("/healthz", None),
    "large": lambda house: house.chat("x" * 60_000),
}
_STATUSES = {kind: 201 if kind == "feedback" else 200 for kind in _REQUESTS}


@FUZZ
@given(data=st.data())
def test_damaged_requests_are_answered_or_refused_and_never_more_than_there_were(house: House, data):
    raw = bytearray(house.chat("where is it") + request("/v1/models", None, house.authorization))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        how = data.draw(st.sampled_from(["change", "insert", "delete", "cut"]))
        if how == "change":
            raw[at] = data.draw(st.integers(0, 255))
        elif how == "insert":
            raw[at:at] = data.draw(st.binary(min_size=1, max_size=4))
        elif how == "delete":
            del raw[at]
        elif len(raw) > 1:
            del raw[at:]
        if not raw:
            raw += b"x"
    with house.connect() as client:
        client.send(bytes(raw))
        answers = client.read(3, seconds=0.05)
    assert len(answers) <= 3
    for answer in answers:
        if answer.complete and answer.status >= 400:
            assert_refusal(answer.status, answer.headers, answer.body)
            assert "server" not in answer.headers


@FUZZ
@given(raw=st.binary(min_size=1, max_size=300))
def test_noise_is_refused(house: House, raw):
    with house.connect() as client:
        client.send(raw)
        for answer in client.read(1, seconds=0.02):
            assert_refusal(answer.status, answer.headers, answer.body)
