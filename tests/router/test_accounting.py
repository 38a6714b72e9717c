"""What every exchange took, in tokens and dollars, and to whom it is charged."""

from __future__ import annotations

import itertools
import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from core.records import Answerer, Exchange, Usage
from tests.router.conftest import Running, run_gateway
from tests.support.openai_server import Teacher
from tests.support.processes import asgi_server
from tests.support.students import LABELS

STUDENTS = "where is my parcel"
TEACHERS = "hello there"
PRICE = (7 * 2.0 + 2 * 10.0) / 1e6

BODIES = {
    "/v1/chat/completions": lambda text: {"messages": [{"role": "user", "content": text}]},
    "/v1/completions": lambda text: {"prompt": text},
    "/v1/responses": lambda text: {"input": text},
}
EVERY = pytest.mark.parametrize("path", BODIES)
BOTH = pytest.mark.parametrize("stream", [False, True])


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, student_url: str) -> Iterator[Running]:
    """A gateway with a task and a default upstream."""
    with ExitStack() as stack:
        default = stack.enter_context(asgi_server(Teacher()))
        passthrough = {"base_url": f"{default}/v1", "input_price": 4.0, "output_price": 20.0}
        folder = tmp_path_factory.mktemp("accounting")
        running = run_gateway(stack, folder, student_url, passthrough=passthrough)
        running.trust(*LABELS)
        yield running


@pytest.fixture(scope="module")
def keys(house: Running) -> dict[str, dict[str, str]]:
    """Two keys: their headers by their ids."""
    found = {}
    for name in ("one", "other"):
        key, secret = house.ledger.keys.create(name, actor="a test", at=time.time())
        found[key.id] = {"authorization": f"Bearer {secret}"}
    house.wait(lambda: httpx.get(f"{house.url}/v1/models").status_code == 401)
    return found


def ask(house: Running, path: str, text: str, headers: dict[str, str], **more: Any) -> httpx.Response:
    body = {"model": "desk"} | BODIES[path](text) | more
    answer = httpx.post(house.url + path, json=body, headers=headers, timeout=20)
    assert answer.status_code == 200, answer.text
    return answer


def record_of(house: Running, answer: httpx.Response) -> Exchange:
    identifier = answer.headers["x-tutelage-exchange"]
    (record,) = [record for record in house.records() if record.id == identifier]
    return record


@EVERY
@BOTH
@pytest.mark.parametrize(
    ("text", "answerer", "usage", "dollars"),
    [(STUDENTS, Answerer.STUDENT, Usage(4, 1), 0.0), (TEACHERS, Answerer.TEACHER, Usage(7, 2), PRICE)],
)
def test_every_exchange_has_its_usage_its_cost_and_its_key(house, keys, path, stream, text, answerer, usage, dollars):
    for key, header in keys.items():
        record = record_of(house, ask(house, path, text, header, stream=stream))
        assert (record.answered_by, record.usage, record.key) == (answerer, usage, key)
        assert record.cost_usd == pytest.approx(dollars)
        assert (record.streamed, record.complete, record.status) == (stream, True, 200)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
@pytest.mark.parametrize("text", [STUDENTS, TEACHERS])
@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ({}, False),
        ({"stream_options": None}, False),
        ({"stream_options": {"include_usage": False}}, False),
        ({"stream_options": {"include_obfuscation": False}}, False),
        ({"stream_options": {"include_usage": True}}, True),
    ],
)
def test_the_usage_chunk_is_for_those_who_ask_for_it_and_the_account_is_kept_anyway(
    house, keys, path, text, options, shown
):
    answer = ask(house, path, text, next(iter(keys.values())), stream=True, **options)
    events = [json.loads(event.removeprefix("data: ")) for event in answer.text.split("\n\n")[:-2]]
    assert answer.text.endswith("data: [DONE]\n\n")
    assert [bool(event["choices"]) for event in events] == [True] * (len(events) - shown) + [False] * shown
    record = record_of(house, answer)
    told = (events[-1].get("usage") or {}).get("completion_tokens")
    assert told == (record.usage.completion_tokens if shown else None)
    assert record.usage.prompt_tokens > 0
    if record.answered_by is Answerer.TEACHER:
        wanted = dict(options.get("stream_options") or {}) | {"include_usage": True}
        assert house.teacher.requests[-1]["stream_options"] == wanted, "what else stands there goes through"


@BOTH
def test_an_embedding_and_a_foreign_model_are_charged_to_the_key_too(house, keys, stream):
    key, header = next(iter(keys.items()))
    body = {"model": "desk", "input": STUDENTS}
    record = record_of(house, httpx.post(f"{house.url}/v1/embeddings", json=body, headers=header))
    assert (record.key, record.usage, record.cost_usd) == (key, Usage(7, 0), pytest.approx(14e-6))
    record = record_of(house, ask(house, "/v1/chat/completions", TEACHERS, header, model="gpt-x", stream=stream))
    assert (record.task, record.key, record.usage) == ("passthrough", key, Usage(7, 2))
    assert record.cost_usd == pytest.approx((7 * 4.0 + 2 * 20.0) / 1e6)


def test_metrics_are_the_sums_of_the_records(house, keys):
    names = itertools.cycle(keys.values())
    for path, stream, text in itertools.product(BODIES, (False, True), (STUDENTS, TEACHERS)):
        ask(house, path, text, next(names), stream=stream)
    house.ask("where is it", headers=next(names), n=2)
    house.wait(lambda: house.metric("tutelage_gateway_in_flight") == 0)
    records = house.records()
    assert {record.task for record in records} >= {"desk"}
    for task, answerer in itertools.product({record.task for record in records}, Answerer):
        chosen = [record for record in records if (record.task, record.answered_by) == (task, answerer)]
        labels = {"task": task, "answered_by": answerer.value}
        assert house.metric("tutelage_gateway_requests_total", **labels) == len(chosen)
        tokens_in = house.metric("tutelage_gateway_tokens_total", direction="in", **labels)
        tokens_out = house.metric("tutelage_gateway_tokens_total", direction="out", **labels)
        assert tokens_in == sum(record.usage.prompt_tokens for record in chosen)
        assert tokens_out == sum(record.usage.completion_tokens for record in chosen)
        assert house.metric("tutelage_gateway_request_seconds_count", **labels) == len(chosen)
    for task in {record.task for record in records}:
        dollars = sum(record.cost_usd for record in records if record.task == task)
        assert house.metric("tutelage_gateway_cost_dollars_total", task=task) == pytest.approx(dollars)
    assert Counter(record.key for record in records).keys() == set(keys)
