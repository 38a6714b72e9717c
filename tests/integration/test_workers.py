"""Several workers are one gateway: one address, one `/metrics`, one end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import httpx
import psutil
import pytest

from core.redis_server import start_redis
from router.crew import Crew
from router.listening import listen
from router.metrics import MetricsHub, Report
from router.metrics.link import REPORT_SECONDS
from tests.integration.load import send
from tests.support.openai_server import Teacher
from tests.support.processes import ROOT, asgi_server, free_port, module_process, wait_for, write_settings
from tests.support.students import LABELS

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

WORKERS = 2


@dataclass
class Gateway:
    url: str
    process: subprocess.Popen[bytes]
    teacher: Teacher
    log: Path

    @property
    def workers(self) -> list[psutil.Process]:
        found = []
        for child in psutil.Process(self.process.pid).children():
            with suppress(psutil.Error):
                if "router.worker" in child.cmdline():
                    found.append(child)
        return found

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's lines that have these labels, as a connection of its own is told."""
        lines = httpx.get(f"{self.url}/metrics").raise_for_status().text.splitlines()
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        return sum(
            float(line.rsplit(" ", 1)[1])
            for line in lines
            if line.startswith((f"{name}{{", f"{name} ")) and all(label in line for label in wanted)
        )

    def answered(self) -> float:
        return self.metric("tutelage_gateway_requests_total", code="200")

    def wait_until(self, condition, seconds: float = 30.0) -> None:
        deadline = time.monotonic() + seconds
        while True:
            with suppress(httpx.HTTPError):
                if condition():
                    return
            assert time.monotonic() < deadline, f"it did not come to pass\n{self.log.read_text()[-3000:]}"
            time.sleep(0.05)


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    """Two workers, a Redis, and a teacher that answers everything."""
    with ExitStack() as stack:
        teacher = Teacher()
        teacher_url = stack.enter_context(asgi_server(teacher))
        redis_port, port = free_port(), free_port()
        redis = start_redis(tmp_path / "redis", redis_port)
        stack.callback(redis.stop)
        task = {"labels": list(LABELS), "teacher": {"base_url": f"{teacher_url}/v1", "model": "big-teacher"}}
        document = {
            "state": str(tmp_path / "state"),
            "gateway": {"port": port, "workers": WORKERS, "refresh_seconds": 0.2},
            "student": {"port": free_port()},
            "redis": {"port": redis_port},
            "tasks": {"desk": task},
        }
        config = write_settings(tmp_path / "tutelage.yaml", document)
        log = tmp_path / "gateway.log"
        process = stack.enter_context(module_process("router.serve", "--config", str(config), log=log))
        running = Gateway(f"http://127.0.0.1:{port}", process, teacher, log)
        wait_for(f"{running.url}/readyz", process=process)
        running.wait_until(lambda: len(running.workers) == WORKERS)
        running.wait_until(lambda: running.metric("tutelage_gateway_workers") == WORKERS)
        yield running


def test_whichever_worker_is_asked_shows_the_sum(gateway: Gateway):
    outcome = send(gateway.url, 400)
    assert outcome.failed == []
    time.sleep(2 * REPORT_SECONDS)
    assert {gateway.answered() for _ in range(10)} == {400}, "ten connections, hence both workers"
    assert gateway.metric("tutelage_gateway_tokens_total", direction="in") == 400 * gateway.teacher.prompt_tokens
    assert gateway.metric("tutelage_gateway_in_flight") == 0
    assert gateway.metric("process_resident_memory_bytes") > 3 * 20e6
    gateway.wait_until(lambda: gateway.metric("tutelage_gateway_journal_shipped_total") == 400)


def test_connections_are_shared_out(gateway: Gateway):
    used = Counter[int]()
    with ExitStack() as stack:
        for _ in range(60):
            client = stack.enter_context(httpx.Client())
            client.get(f"{gateway.url}/healthz")
        for worker in gateway.workers:
            used[worker.pid] = sum(found.status == "ESTABLISHED" for found in worker.net_connections("tcp"))
    assert len(used) == WORKERS
    assert min(used.values()) > 10, used


def test_a_killed_worker_is_replaced_and_no_counter_goes_back(gateway: Gateway):
    first = send(gateway.url, 300)
    assert first.failed == []
    time.sleep(2 * REPORT_SECONDS)
    before = gateway.answered()
    assert before == 300

    victim, survivor = gateway.workers
    victim.kill()
    seen = [before]

    def is_replaced() -> bool:
        seen.append(gateway.answered())
        return {survivor.pid} < {worker.pid for worker in gateway.workers}

    gateway.wait_until(is_replaced)
    gateway.wait_until(lambda: gateway.metric("tutelage_gateway_workers") == WORKERS)
    assert gateway.metric("tutelage_gateway_worker_restarts_total") == 1

    second = send(gateway.url, 300)
    assert second.failed == []
    time.sleep(2 * REPORT_SECONDS)
    seen += [gateway.answered() for _ in range(10)]
    assert seen == sorted(seen), "no counter went back"
    assert seen[-1] == 600, "what the clients counted"


def test_a_worker_killed_under_load_takes_half_a_second_of_counts_with_it(gateway: Gateway):
    started = time.monotonic()
    outcome = send(gateway.url, 3_000, midway=gateway.workers[0].kill)
    rate = len(outcome.answered) / (time.monotonic() - started)
    assert len(outcome.answered) + len(outcome.failed) == 3_000
    assert len(outcome.failed) <= 48, "only what was under way in the killed one, at most one more each"
    gateway.wait_until(lambda: gateway.metric("tutelage_gateway_workers") == WORKERS)
    time.sleep(2 * REPORT_SECONDS)
    counted = gateway.answered()
    assert counted <= 3_000
    assert counted >= len(outcome.answered) - 2 * rate * REPORT_SECONDS, "twice, for a machine that is busy elsewhere"
    # The journal knows better than the metrics: a record is written before its answer goes out.
    gateway.wait_until(lambda: gateway.metric("tutelage_gateway_journal_shipped_total") >= len(outcome.answered))


def test_sigterm_drains_all_workers(gateway: Gateway):
    gateway.teacher.behaviour = "slow"
    asked, statuses = asyncio.run(_ask_then_stop(gateway, 30))
    assert statuses == [200] * asked
    assert gateway.process.wait(20) == 0
    assert not [child for child in psutil.process_iter() if _listens(child, gateway.url)]


def test_the_port_of_a_gateway_with_several_workers_is_taken(gateway: Gateway, tmp_path: Path):
    config = tmp_path / "tutelage.yaml"
    second = subprocess.run(
        [sys.executable, "-m", "router.serve", "--config", str(config)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
    )
    assert second.returncode == 1
    assert "is taken" in second.stderr
    assert send(gateway.url, 20).failed == []


def test_the_command_line_sets_the_number_of_workers(gateway: Gateway, tmp_path: Path):
    config, port = tmp_path / "tutelage.yaml", free_port()
    environment = os.environ | {"TUTELAGE_GATEWAY__PORT": str(port), "TUTELAGE_STATE": str(tmp_path / "second")}
    command = [sys.executable, "-m", "tutelage", "gateway", "--config", str(config), "--workers", "3"]
    process = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        other = Gateway(f"http://127.0.0.1:{port}", process, gateway.teacher, gateway.log)
        other.wait_until(lambda: other.metric("tutelage_gateway_workers") == 3)
        assert len(other.workers) == 3
    finally:
        process.terminate()
        assert process.wait(30) == 0


async def test_workers_that_cannot_live_leave_one_socket_open(tmp_path: Path):
    listener = listen("127.0.0.1", 0, shared=True)
    port = listener.getsockname()[1]
    hub = MetricsHub(_no_report)
    crew = Crew(tmp_path / "there-is-no-such-file.yaml", listener, WORKERS, hub)
    working = asyncio.create_task(crew.work())
    try:
        assert _listeners_on(port) == WORKERS
        deadline = time.monotonic() + 90
        while _listeners_on(port) == WORKERS:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
        assert _listeners_on(port) == 1
        assert crew.restarts >= 5
        _, writer = await asyncio.open_connection("127.0.0.1", port)  # it waits in the backlog
        writer.close()
        restarts = crew.restarts
        while crew.restarts == restarts:
            assert time.monotonic() < deadline
            assert _listeners_on(port) == 1, "nobody waits for a worker that has yet to show that it can live"
            await asyncio.sleep(0.1)
    finally:
        await crew.stop(5)
        await asyncio.wait_for(working, 30)
    assert _listeners_on(port) == 0


async def _no_report() -> Report:
    return Report()


def _listeners_on(port: int) -> int:
    found = psutil.Process().net_connections("tcp")
    return sum(each.status == "LISTEN" and each.laddr.port == port for each in found)


async def _ask_then_stop(gateway: Gateway, count: int) -> tuple[int, list[int]]:
    """Have `count` requests under way, send SIGTERM, and see what becomes of them."""
    body = {"model": "desk", "messages": [{"role": "user", "content": "hello"}]}

    async def ask(session: aiohttp.ClientSession) -> int:
        async with session.post(f"{gateway.url}/v1/chat/completions", json=body) as response:
            await response.read()
            return response.status

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=count)) as session:
        asking = [asyncio.create_task(ask(session)) for _ in range(count)]
        deadline = time.monotonic() + 10
        while len(gateway.teacher.requests) < count:  # what the teacher's thread fills
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
        gateway.process.send_signal(signal.SIGTERM)
        return count, await asyncio.gather(*asking)


def _listens(process: psutil.Process, url: str) -> bool:
    port = int(url.rsplit(":", 1)[1])
    with suppress(psutil.Error):
        return any(found.status == "LISTEN" and found.laddr.port == port for found in process.net_connections("tcp"))
    return False
