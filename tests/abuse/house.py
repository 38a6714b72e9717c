"""A gateway with its worker process, keys and a teacher behind a key; and what must never be seen of those keys."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from core.ledger import Ledger, Trust
from core.locallog import list_sources, read_frames
from core.settings import Settings, load_settings
from tests.support.openai_server import Teacher
from tests.support.otlp import Collector, collecting
from tests.support.processes import asgi_server, free_port, module_process, wait_for, write_settings
from tests.support.raw_client import Answer, RawClient, request
from tests.support.rude_upstream import rude_upstream
from tests.support.students import LABELS

VERSION = "fixed"
TEACHER_KEY = "sk-marked-teacher-0f1e2d3c4b5a"
TEACHER_KEY_ENV = "MARKED_TEACHER_KEY"
TELL_TALES = ("echo", "cut-by-an-echo", "key-refused")
"""Tasks whose teacher repeats what it was sent, its key included."""
READ_SECONDS = 0.8
WRITE_SECONDS = 1.0


@dataclass
class House:
    """The gateway, and everything around it."""

    url: str
    settings: Settings
    teacher: Teacher
    key: str
    log: Path
    collector: Collector
    metrics: bytes = b""
    """What it showed before it was stopped."""

    @property
    def authorization(self) -> bytes:
        return b"authorization: Bearer " + self.key.encode()

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.key}"}

    def connect(self, **options: Any) -> RawClient:
        return RawClient(self.url, **options)

    def chat(self, text: str = "where is it", *headers: bytes, **more: Any) -> bytes:
        """A request to the student (`where`) or, with other words, to the teacher, as bytes."""
        body = json.dumps({"model": "desk", "messages": [{"role": "user", "content": text}], **more}).encode()
        return request("/v1/chat/completions", body, self.authorization, *headers)

    def exchange(self, *pieces: bytes, pause: float = 0.0, seconds: float = 10.0) -> list[Answer]:
        """Send these bytes, and read until the connection is closed."""
        with self.connect() as client:
            client.send(*pieces, pause=pause)
            answers = client.read(seconds=seconds)
            assert client.closed, "the connection stays open"
            return answers

    def metric(self, name: str, *parts: str) -> float:
        """The sum of a metric's lines that hold these parts."""
        lines = httpx.get(f"{self.url}/metrics").text.splitlines()
        found = (line for line in lines if line.startswith((f"{name}{{", f"{name} ")))
        return sum(float(line.rsplit(" ", 1)[1]) for line in found if all(part in line for part in parts))

    def is_well(self) -> None:
        """Assert that it lives, and that nobody is left over in it."""
        response = httpx.get(f"{self.url}/healthz", timeout=5.0)
        assert response.status_code == 200
        deadline = time.monotonic() + 5.0
        while self.metric("tutelage_gateway_in_flight") > 0:
            assert time.monotonic() < deadline, "a request is still under way"
            time.sleep(0.02)

    def told(self) -> Iterator[tuple[str, bytes]]:
        """Everything that it has written anywhere, with where that is."""
        yield "log", self.log.read_bytes()
        yield "metrics", self.metrics
        yield from (("span", raw) for raw in self.collector.raw)
        folder = self.settings.log_folder
        for source in list_sources(folder):
            for _, payload in read_frames(folder, source, 0, 1 << 30):
                yield "record", payload

    def keeps_its_secrets(self) -> None:
        """Assert that neither the client's key nor the teacher's stands anywhere. It has been stopped."""
        assert {where for where, _ in self.told()} == {"log", "metrics", "span", "record"}
        for where, content in self.told():
            assert not any(secret in content for secret in self.secrets), f"a secret is in the {where}"

    @property
    def secrets(self) -> tuple[bytes, ...]:
        """What must never be seen: the client's key, the part of it that nobody knows, the teacher's key."""
        return self.key.encode(), self.key.split("-", 2)[2].encode(), TEACHER_KEY.encode()


@contextmanager
def teacher_key() -> Iterator[None]:
    """The teacher's key in the environment, as long as the gateway lives."""
    os.environ[TEACHER_KEY_ENV] = TEACHER_KEY
    try:
        yield
    finally:
        os.environ.pop(TEACHER_KEY_ENV, None)


def open_house(stack: ExitStack, folder: Path, student_url: str) -> House:
    """Start it: the gateway's parent, and one worker."""
    stack.enter_context(teacher_key())
    teacher = Teacher()
    teacher_url = stack.enter_context(asgi_server(teacher))
    rude = stack.enter_context(rude_upstream())
    collector = stack.enter_context(collecting())
    port = free_port()

    def task(base_url: str) -> dict[str, Any]:
        return {
            "labels": list(LABELS),
            "teacher": {"base_url": base_url, "model": "big", "api_key_env": TEACHER_KEY_ENV},
        }

    document = {
        "state": str(folder / "state"),
        "student": {"url": student_url},
        "redis": {"port": free_port()},  # nobody is there
        "gateway": {
            "port": port,
            "refresh_seconds": 0.1,
            "read_seconds": READ_SECONDS,
            "write_seconds": WRITE_SECONDS,
            "max_body_bytes": 100_000,
            "max_in_flight": 64,
            "drain_seconds": 0.5,
        },
        "tracing": {"otlp_endpoint": collector.url},
        "tasks": {"desk": task(f"{teacher_url}/v1")} | {name: task(f"{rude.url}/{name}/v1") for name in TELL_TALES},
    }
    config = write_settings(folder / "tutelage.yaml", document)
    settings = load_settings(config)
    settings.state.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(settings.ledger_url)
    stack.callback(ledger.close)
    ledger.migrate()
    rows = [Trust("desk", VERSION, label, True, 1.0, 99, "for a test", time.time()) for label in LABELS]
    ledger.set_trust("desk", VERSION, rows)
    _, key = ledger.keys.create("abuser", actor="a test", at=time.time())
    log = folder / "gateway.log"
    process = stack.enter_context(module_process("router.serve", "--config", str(config), log=log))
    house = House(f"http://127.0.0.1:{port}", settings, teacher, key, log, collector)
    wait_for(f"{house.url}/readyz", process=process)
    deadline = time.monotonic() + 20
    while house.metric("tutelage_gateway_trusted_classes") < len(LABELS):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return house
