"""The whole house as real processes: Redis, student server with its registry, archiver, gateway, and a teacher."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from core.archive import Archive
from core.ledger import Ledger, Trust
from core.redis_server import RedisServer, start_redis
from core.registry import Registry
from core.settings import Settings, load_settings
from tests.support.openai_server import Teacher
from tests.support.processes import asgi_server, free_port, module_process, wait_for, write_settings
from tests.support.students import LABELS, write_student

TASK = "desk"


@dataclass
class House:
    """Everything that runs, and what tests do to it."""

    folder: Path
    settings: Settings
    url: str
    teacher: Teacher
    redis: list[RedisServer]
    """All that were started; the last one runs."""
    gateway_pid: int
    ledger: Ledger
    registry: Registry

    def promote_new_version(self, **cues: tuple[str, ...]) -> str:
        """Register another student, trusted with everything, and make it champion."""
        folder = write_student(self.folder / f"student-{time.time_ns()}", TASK, cues) if cues else None
        version = self.registry.register(TASK, folder or write_student(self.folder / f"s{time.time_ns()}", TASK), {})
        rows = [Trust(TASK, version, label, True, 1.0, 99, "for a test", time.time()) for label in LABELS]
        self.ledger.set_trust(TASK, version, rows)
        self.registry.set_alias(TASK, "champion", version)
        return version

    def served_version(self) -> str | None:
        """The champion that the student server answers with."""
        models = httpx.get(f"{self.settings.student.base_url}/v1/models").json()["data"]
        found: str | None = models[0]["tutelage"]["champion"]
        return found

    def wait_until(self, condition: Any, seconds: float = 30.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "it did not come to pass"
            time.sleep(0.05)

    def kill_worker(self) -> None:
        """Kill the gateway's worker, as the kernel would."""
        (worker,) = psutil.Process(self.gateway_pid).children()
        worker.kill()

    def restart_redis_empty(self) -> None:
        """Stop Redis, throw its data away, start it again on the same port."""
        port = self.settings.redis.port
        self.redis[-1].stop()
        shutil.rmtree(self.folder / "redis")
        self.redis.append(start_redis(self.folder / "redis", port))

    def archived_ids(self) -> list[str]:
        """Ids of all archived exchanges, as often as they stand there."""
        archive = Archive(self.settings.archive_url, self.ledger)
        ids: list[str] = archive.query("SELECT id FROM records", TASK).column("id").to_pylist()
        return ids

    def wait_until_archived(self, identifiers: set[str], seconds: float = 60.0) -> None:
        self.wait_until(lambda: identifiers <= set(self.archived_ids()), seconds)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A house of its own for each test."""
    with ExitStack() as stack:
        teacher = Teacher()
        teacher_url = stack.enter_context(asgi_server(teacher))
        redis_port, student_port, gateway_port = free_port(), free_port(), free_port()
        document = {
            "state": str(tmp_path / "state"),
            "gateway": {"port": gateway_port, "refresh_seconds": 0.2},
            "student": {"port": student_port, "poll_seconds": 0.3},
            "redis": {"port": redis_port},
            "archive": {"flush_seconds": 0.5},
            "log": {"segment_bytes": 256 * 1024},
            "tasks": {
                TASK: {"labels": list(LABELS), "teacher": {"base_url": f"{teacher_url}/v1", "model": "big-teacher"}}
            },
        }
        config = write_settings(tmp_path / "tutelage.yaml", document)
        settings = load_settings(config)
        settings.state.mkdir()
        redis = [start_redis(tmp_path / "redis", redis_port)]
        stack.callback(lambda: redis[-1].stop())  # noqa: PLW0108  # whichever is the last by then
        ledger = Ledger(settings.ledger_url)
        ledger.migrate()
        stack.callback(ledger.close)
        registry = Registry(settings.registry_url, settings.state / "artifacts")
        flag = ("--config", str(config))
        log = tmp_path / "roles.log"
        student = stack.enter_context(module_process("server.serve", *flag, log=log))
        stack.enter_context(module_process("tutelage.archiver", *flag, log=log))
        gateway = stack.enter_context(module_process("router.serve", *flag, log=log))
        wait_for(f"{settings.student.base_url}/healthz", process=student)
        url = f"http://127.0.0.1:{gateway_port}"
        wait_for(f"{url}/readyz", process=gateway)
        yield House(tmp_path, settings, url, teacher, redis, gateway.pid, ledger, registry)
