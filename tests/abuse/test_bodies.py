"""Bodies of every kind and shape: each is answered, or refused with what is wrong about it; none is a defect."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.dialects import Dialect, all_dialects
from tests.router.conftest import Running, run_gateway
from tests.support.errors import assert_error, assert_refusal
from tests.support.students import LABELS

FUZZ = settings(
    max_examples=120, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)

FIELDS = {
    "chat/completions": (
        "messages model stream stream_options n logprobs top_logprobs tools functions response_format user audio "
        "web_search_options max_tokens max_completion_tokens safety_identifier temperature"
    ),
    "completions": "prompt model stream stream_options logprobs n best_of echo suffix response_format max_tokens user",
    "responses": (
        "input model instructions stream include top_logprobs user safety_identifier max_output_tokens tools text "
        "background store previous_response_id conversation prompt context_management metadata temperature top_p "
        "parallel_tool_calls prompt_cache_key"
    ),
    "embeddings": "input model user dimensions encoding_format",
}
PATHS = tuple(FIELDS)


@dataclass
class Target:
    """A gateway whose student and teacher always answer."""

    running: Running
    client: httpx.Client

    def post(self, path: str, content: bytes | str, **headers: str) -> httpx.Response:
        response = self.client.post(f"{self.running.url}/v1/{path}", content=content, headers=headers)
        if response.status_code != 200:
            assert_refusal(response.status_code, response.headers, response.content)
        return response


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory, student_url: str) -> Iterator[Target]:
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("bodies")
        running = run_gateway(stack, folder, student_url, task={"limits": {"tokens_per_minute": 10**9}})
        running.trust(*LABELS)
        yield Target(running, stack.enter_context(httpx.Client(timeout=20)))
        assert running.metric("tutelage_gateway_in_flight") == 0
        assert running.metric("tutelage_gateway_errors_total", code="internal_error") == 0


def whole(path: str, text: str) -> dict[str, Any]:
    """A sound body."""
    if path == "chat/completions":
        return {"model": "desk", "messages": [{"role": "user", "content": text}]}
    return {"model": "desk", ("prompt" if path == "completions" else "input"): text}


_numbers = st.one_of(
    st.integers(-3, 25),
    st.sampled_from([2**31 - 1, 2**31, 2**63, -(2**63), 2**64, 10**30, -(10**400), 10**400]),
    st.floats(allow_nan=False, allow_infinity=False),
)
_texts = st.one_of(
    st.sampled_from(["", "where", "\0", "desk", "auto", "message", "text", "json_object", "\u202e", "x" * 3000]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
)
_leaves = st.one_of(st.none(), st.booleans(), _numbers, _texts)
_keys = st.one_of(
    _texts, st.sampled_from(["role", "content", "type", "text", "include_usage", "format", "verbosity", "tool_calls"])
)
VALUES = st.recursive(
    _leaves,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(_keys, inner, max_size=4)),
    max_leaves=8,
)
_MESSAGES = st.lists(
    st.fixed_dictionaries({}, optional={"role": VALUES, "content": VALUES, "type": VALUES, "tool_calls": VALUES}),
    max_size=3,
)


@FUZZ
@given(data=st.data())
@pytest.mark.parametrize("path", PATHS)
def test_whatever_stands_in_the_fields_nothing_breaks(target: Target, path: str, data: st.DataObject):
    body = whole(path, data.draw(st.sampled_from(["where is it", "hello"])))
    names = data.draw(st.lists(st.sampled_from([*FIELDS[path].split(), "a_field_of_tomorrow"]), min_size=1, max_size=4))
    for name in names:
        body[name] = data.draw(_MESSAGES if name in ("messages", "input") and data.draw(st.booleans()) else VALUES)
    response = target.post(path, json.dumps(body))
    streams_embeddings = path == "embeddings" and bool(body.get("stream"))
    assert response.status_code < 500 or streams_embeddings, (body, response.text)
    if response.status_code == 200 and response.headers["content-type"].startswith("text/event-stream"):
        assert b'"error":{' not in response.content, (body, response.text)


@FUZZ
@given(raw=st.one_of(st.binary(max_size=200), VALUES.map(lambda value: json.dumps(value).encode())))
def test_whatever_the_body_is_it_is_refused_or_answered(target: Target, raw: bytes):
    for path in (*PATHS, "feedback"):
        assert target.post(path, raw).status_code < 500


@FUZZ
@given(at=st.integers(0, 200), replacement=st.binary(max_size=3))
def test_damaged_bodies_are_refused_or_answered(target: Target, at: int, replacement: bytes):
    for path in PATHS:
        more = {"logprobs": 1, "user": "ü"} | ({} if path == "embeddings" else {"stream": True})
        raw = bytearray(json.dumps(whole(path, "where is it") | more).encode())
        raw[at % len(raw) : at % len(raw) + 1] = replacement
        assert target.post(path, bytes(raw)).status_code < 500


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("text", ["where is it", "hello"], ids=["student", "teacher"])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")], ids=["arrays", "objects"])
def test_depth_is_answered_or_refused_wherever_it_ends(
    target: Target, path: str, text: str, opening: str, closing: str
):
    """Around the depth at which the decoder gives up: an answer that repeats what was asked must not fail by one."""
    body = json.dumps(whole(path, text))[:-1]
    for depth in (10, 190, 200, *range(968, 1000, 2), 100_000):
        nested = opening * depth + "1" + closing * depth
        verbosity = f'{{"format": {{"type": "text"}}, "verbosity": {nested}}}'
        for name, value in (("metadata", nested), ("metadata", f'{{"a": {nested}}}'), ("text", verbosity)):
            status = target.post(path, f'{body}, "{name}": {value}}}').status_code
            assert status in (200, 400), (depth, name, status)


@pytest.mark.parametrize("path", PATHS)
def test_large_bodies_do_not_hold_up_others(target: Target, path: str):
    size = 3_900_000
    patterns = [
        '"data:' * (size // 6),
        '"data"' + " " * 100 + ":",
        '"file_data": "' + "x" * size,
        "{" * 1000,
        "\\u0000" * (size // 6),
        "\\ud83d\\ude00" * (size // 12),
        " " * size,
        "\\" * size,
    ]
    for pattern in patterns:
        filled = pattern * max(1, size // len(pattern))
        for body in (json.dumps(whole(path, filled)), json.dumps(whole(path, "x"))[:-1] + ', "x": ' + filled + "}"):
            begun = time.monotonic()
            status = target.post(path, body[:4_100_000]).status_code
            assert status in (200, 400, 429)
            assert time.monotonic() - begun < 5


@pytest.mark.parametrize("path", PATHS)
def test_a_number_beyond_all_measure_gives_nothing_back_to_a_limit(target: Target, path: str):
    name = {"chat/completions": "max_tokens", "responses": "max_output_tokens"}.get(path, "max_tokens")
    for value in (-1, -(10**9), 10**12, 10**40):
        response = target.post(path, json.dumps(whole(path, "hello") | {name: value}))
        assert response.status_code == (200 if path == "embeddings" else 400)
    left = int(target.post(path, json.dumps(whole(path, "hello"))).headers["x-ratelimit-remaining-tokens"])
    assert left < 10**9


@pytest.mark.parametrize("dialect", all_dialects().values(), ids=PATHS)
@pytest.mark.parametrize("twice", ['"model": "dear", "model": "cheap"', '"model": "dear", "mod\\u0065l": "cheap"'])
def test_the_model_that_was_checked_is_the_model_that_is_asked_for(dialect: Dialect, twice: str):
    """Of two fields of the same name a reader may take either: an upstream must not see both."""
    body = f'{{{twice}, "messages": [{{"role": "user", "content": "hello"}}], "input": "x"}}'.encode()
    request = dialect.decode(body)
    assert request.model == "cheap"
    sent = json.loads(dialect.upstream_body(body, request, "cheap"), object_pairs_hook=list)
    assert [value for name, value in sent if name == "model"] == ["cheap"]


@pytest.mark.parametrize(
    "name",
    [
        "authorization",
        "x-request-id",
        "traceparent",
        "tracestate",
        "x-tutelage-answer-by",
        "x-tutelage-distribution",
        "content-type",
        "accept-encoding",
        "content-encoding",
    ],
)
def test_strange_headers_change_nothing(target: Target, name: str):
    for value in ("", "x" * 8000, "00-" + "0" * 60, "\xff\xfe", "gzip", "a, b;q=0,", "%00"):
        answer = target.client.post(
            f"{target.running.url}/v1/chat/completions",
            json=whole("chat/completions", "where is it"),
            headers=[(name.encode(), value.encode("latin-1"))],
        )
        assert answer.status_code == 200
        assert answer.json()["choices"][0]["message"]["content"] == "order_status"


def test_errors_of_a_stream_have_the_shape(target: Target):
    target.running.teacher.behaviour = "cut"
    try:
        answer = target.post("chat/completions", json.dumps(whole("chat/completions", "hello") | {"stream": True}))
    finally:
        target.running.teacher.behaviour = "answer"
    *_, last = answer.content.rstrip(b"\n").split(b"\n\n")
    assert last.startswith(b"data: ")
    assert_error(last[6:])
    assert b"[DONE]" not in answer.content
    assert b'"finish_reason": "stop"' not in answer.content
