"""Floods: of names, of users, of connections, of good and bad requests; what is kept of them stays small."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from core.ledger import Ledger
from core.settings import load_settings
from router.app import Gateway
from tests.abuse.house import House
from tests.support.errors import assert_refusal
from tests.support.openai_server import Teacher
from tests.support.processes import asgi_server, free_port, write_settings
from tests.support.raw_client import RawClient, request
from tests.support.students import LABELS

MEBIBYTE = 1 << 20


@pytest.fixture
async def gateway(tmp_path: Path, student_url: str) -> AsyncIterator[Gateway]:
    """A gateway in this very process, with a pass-through for whatever model is asked for, and privacy by hashes."""
    with ExitStack() as stack:
        teacher_url = stack.enter_context(asgi_server(Teacher()))
        task = {
            "labels": list(LABELS),
            "teacher": {"base_url": f"{teacher_url}/v1", "model": "big"},
            "privacy": {"store": "hashed"},
        }
        document = {
            "state": str(tmp_path / "state"),
            "student": {"url": student_url},
            "redis": {"port": free_port()},
            "passthrough": {"base_url": f"{teacher_url}/v1", "models": ["open-*"]},
            "tasks": {"desk": task},
        }
        settings = load_settings(write_settings(tmp_path / "tutelage.yaml", document))
        settings.state.mkdir()
        ledger = Ledger(settings.ledger_url)
        ledger.migrate()
        ledger.close()
        gateway = Gateway(settings)
        await gateway.start()
        yield gateway
        await gateway.stop()


async def ask(gateway: Gateway, document: Any, path: str = "/v1/chat/completions", **headers: str) -> tuple[int, bytes]:
    """Ask past any server: status and body of the answer."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    incoming = iter([{"type": "http.request", "body": body}])
    sent: list[Any] = []

    async def receive() -> Any:
        message = next(incoming, None)
        if message is None:
            await asyncio.Event().wait()
        return message

    async def send(message: Any) -> None:
        sent.append(message)

    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    await gateway(
        {
            "type": "http",
            "method": "POST",
            "path": path,
            "headers": raw,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
        },
        receive,
        send,
    )
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


def chat(model: str = "desk", text: str = "where is it", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


async def size_of(gateway: Gateway) -> tuple[int, int]:
    """Lines of its metrics, and bytes of this process."""
    gc.collect()
    exposition = await gateway.metrics.exposition()
    return len(exposition.splitlines()), psutil.Process().memory_info().rss


@pytest.mark.parametrize(
    ("count", "flood", "status"),
    [
        (20_000, lambda n: chat(f"model-{n}"), 404),
        (3_000, lambda n: chat(f"open-{n}-" + "x" * 500), 200),
        (10_000, lambda n: chat(user=f"user-{n}"), 200),
        (3_000, lambda n: chat(text=f"hello {n}"), 200),
        (
            3_000,
            lambda n: {"model": "desk", "messages": [{"role": f"role-{n}", "content": f"a template of its own {n}"}]},
            200,
        ),
        (3_000, lambda n: b'{"exchange": "ex_%d", "label": "praise"}' % n, 201),
    ],
    ids=["models", "models passed through", "users", "texts", "templates", "feedback"],
)
async def test_however_many_there_are_the_metrics_and_the_memory_stay_as_they_are(
    gateway: Gateway, count: int, flood: Callable[[int], Any], status: int
):
    path = "/v1/feedback" if status == 201 else "/v1/chat/completions"
    for number in range(300):
        assert (await ask(gateway, flood(number), path))[0] == status
    lines, memory = await size_of(gateway)
    for start in range(300, count, 50):
        asking = [ask(gateway, flood(n), path, x_request_id=f"request-{n}") for n in range(start, start + 50)]
        assert {found for found, _ in await asyncio.gather(*asking)} == {status}
    more_lines, more_memory = await size_of(gateway)
    assert more_lines == lines
    assert more_memory - memory < 16 * MEBIBYTE


async def test_errors_of_all_kinds_keep_the_metrics_bounded(gateway: Gateway):
    for number in range(1_000):
        gateway.metrics.error(400 + number % 200, f"code-{number}")
    exposition = await gateway.metrics.exposition()
    assert exposition.count(b"tutelage_gateway_errors_total{") < 300


def test_beyond_its_bound_the_gateway_sheds_at_once(house: House):
    """64 requests may be under way; of 200 that come together, each beyond is refused, and at once."""
    house.teacher.behaviour = "hang"
    raw = house.chat("hello")
    try:
        with ExitStack() as stack:
            clients = [stack.enter_context(RawClient(house.url)) for _ in range(200)]
            for client in clients:
                client.send(raw)
            begun = time.monotonic()
            refused = [client for client in clients if client.read(1, seconds=0.02)]
            assert len(refused) == 200 - 64
            assert time.monotonic() - begun < 10
            for client in refused:
                (answer,) = client.answers
                error = assert_refusal(answer.status, answer.headers, answer.body)
                assert (answer.status, error["code"]) == (429, "overloaded")
                assert int(answer.headers["retry-after"]) >= 1
            house_metric = house.metric("tutelage_gateway_in_flight")
            assert house_metric == 64
    finally:
        house.teacher.behaviour = "answer"
    house.is_well()


def test_a_flood_of_connections_on_which_nothing_comes_shuts_nobody_out(house: House):
    host, port = house.url.removeprefix("http://").split(":")
    with ExitStack() as stack:
        for _ in range(500):
            stack.enter_context(socket.create_connection((host, int(port))))
        with house.connect() as client:
            client.send(house.chat())
            assert client.read(1)[0].status == 200


def test_after_thousands_of_good_bad_and_broken_off_requests_nothing_is_left(house: House):
    (worker,) = [each for each in _children(house) if "router.worker" in each.cmdline()]
    soft, hard = worker.rlimit(psutil.RLIMIT_NOFILE)
    assert soft == hard, "it may open as many as there can be"
    _mixed(house, 300)
    house.is_well()
    descriptors, memory = worker.num_fds(), worker.memory_info().rss
    _mixed(house, 2_000)
    house.is_well()
    deadline = time.monotonic() + 10
    while worker.num_fds() > descriptors + 10:
        assert time.monotonic() < deadline, (descriptors, worker.num_fds())
        time.sleep(0.1)
    assert worker.memory_info().rss - memory < 24 * MEBIBYTE
    assert house.metric("tutelage_gateway_errors_total", "internal_error") == 0


def _children(house: House) -> list[psutil.Process]:
    parents = (
        each for each in psutil.Process().children() if str(house.settings.state.parent) in " ".join(each.cmdline())
    )
    return [child for parent in parents for child in parent.children()]


def _mixed(house: House, count: int) -> None:
    """So many requests of all kinds, each on a connection of its own, some of them cut in the middle."""
    kinds = [
        (house.chat(), True),
        (house.chat(stream=True), True),
        (house.chat("hello"), True),
        (house.chat("hello", stream=True), True),
        (house.chat("hello", stream=True), False),
        (house.chat("hello"), False),
        (house.chat("x" * 50_000)[:20_000], False),
        (house.chat("x" * 200_000), True),
        (request("/v1/chat/completions", b"{", house.authorization), True),
        (request("/v1/chat/completions", b"{}"), True),
        (request("/v1/feedback", b'{"exchange": "x", "label": "praise", "model": "desk"}', house.authorization), True),
        (request("/v1/feedback", b"{" * 1000, house.authorization)[:-10], False),
        (request("/v1/nothing", None), True),
        (b"\x00\r\n\r\n", True),
        (house.chat() * 3, False),
        (house.chat("hello", model="none"), True),
    ]
    for number in range(count):
        raw, waits = kinds[number % len(kinds)]
        with house.connect() as client:
            client.send(raw)
            if waits:
                client.read(1)
