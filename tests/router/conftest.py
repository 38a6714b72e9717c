"""A real gateway between a real student server and a teacher that can be told how to behave."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from typer.testing import CliRunner

from core.ledger import Ledger, Trust
from core.locallog import list_sources, read_frames
from core.records import Exchange, Feedback, Record, decode
from core.settings import Settings, load_settings
from router.app import Gateway
from router.protocol import GatewayProtocol
from tests.support.openai_server import Teacher
from tests.support.processes import asgi_server, free_port, module_process, wait_for, write_settings
from tests.support.students import LABELS, write_student
from tutelage.cli import build_app

VERSION = "fixed"  # what the student server calls a folder that was given to it


@pytest.fixture(scope="session")
def student_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A student server with the cue-word student."""
    folder = write_student(tmp_path_factory.mktemp("student") / "desk")
    port = free_port()
    with module_process("server.serve", "--model", f"desk={folder}", "--port", str(port)) as process:
        wait_for(f"http://127.0.0.1:{port}/readyz", process=process)
        yield f"http://127.0.0.1:{port}"


@dataclass
class Running:
    """A gateway that serves, and everything around it."""

    url: str
    settings: Settings
    teacher: Teacher
    ledger: Ledger
    gateway: Gateway
    http: httpx.Client
    """Keeps its connections, as clients do."""

    @property
    def client(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="unused", max_retries=0)

    def trust(self, *labels: str, version: str = VERSION) -> None:
        """Trust the student with these labels alone, and wait until the gateway knows."""
        rows = [Trust("desk", version, label, label in labels, 1.0, 99, "for a test", time.time()) for label in LABELS]
        self.ledger.set_trust("desk", version, rows)
        self.wait(lambda: self.metric("tutelage_gateway_trusted_classes") == len(labels))

    def wait(self, condition: Any, seconds: float = 10.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "it did not come to pass"
            time.sleep(0.02)

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's lines that have these labels."""
        lines = self.http.get(f"{self.url}/metrics").text.splitlines()
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        return sum(
            float(line.rsplit(" ", 1)[1])
            for line in lines
            if line.startswith((f"{name}{{", f"{name} ")) and all(label in line for label in wanted)
        )

    def records(self) -> list[Exchange]:
        """The exchanges that stand in the local log."""
        return [record for record in self._logged() if isinstance(record, Exchange)]

    def feedback(self) -> list[Feedback]:
        """The feedback that stands in the local log."""
        return [record for record in self._logged() if isinstance(record, Feedback)]

    def _logged(self) -> list[Record]:
        folder = self.settings.log_folder
        sources = list_sources(folder)
        return [decode(payload) for source in sources for _, payload in read_frames(folder, source, 0, 1 << 30)]

    def create_key(self, name: str, *options: str) -> dict[str, str]:
        """Create a key by the command, as a person does: the header that holds it."""
        told = self.keys_command("create", name, *options, "--quiet")
        key = re.search(r"^tut-\S+$", told, re.MULTILINE)  # the gateway in this process may log at the same time
        assert key is not None, told
        return {"authorization": f"Bearer {key.group()}"}

    def keys_command(self, *arguments: str) -> str:
        """Run `tutelage keys`; what it prints."""
        config = str(self.settings.state.parent / "tutelage.yaml")
        result = CliRunner().invoke(build_app(), ["keys", *arguments, "--config", config])
        assert result.exit_code == 0, result.output
        return result.stdout

    def ask(self, text: str, **more: Any) -> httpx.Response:
        headers = more.pop("headers", {})
        model = more.pop("model", "desk")
        body = {"model": model, "messages": [{"role": "user", "content": text}], **more}
        return self.http.post(f"{self.url}/v1/chat/completions", json=body, headers=headers)


def run_gateway(stack: ExitStack, folder: Path, student_url: str, **overrides: Any) -> Running:
    """Start a gateway whose settings are overridden, by section. `further` holds more tasks, as the first one is."""
    teacher = Teacher()
    teacher_url = stack.enter_context(asgi_server(teacher))
    task: dict[str, Any] = {
        "labels": list(LABELS),
        "aliases": ["gpt-4o"],
        "teacher": {"base_url": f"{teacher_url}/v1", "model": "big-teacher", "input_price": 2.0, "output_price": 10.0}
        | overrides.pop("teacher", {}),
    } | overrides.pop("task", {})
    document = {
        "state": str(folder / "state"),
        "student": {"url": student_url},
        "redis": {"port": free_port()},  # nobody is there: limits are kept by the gateway alone
        "gateway": {"refresh_seconds": 0.05} | overrides.pop("gateway", {}),
        "tasks": {"desk": task}
        | {name: task | {"aliases": []} | changes for name, changes in overrides.pop("further", {}).items()},
    } | overrides
    settings = load_settings(write_settings(folder / "tutelage.yaml", document))
    ledger = Ledger(settings.ledger_url)
    settings.state.mkdir(parents=True, exist_ok=True)
    ledger.migrate()
    stack.callback(ledger.close)
    return serve_gateway(stack, settings, teacher, ledger)


def serve_gateway(stack: ExitStack, settings: Settings, teacher: Teacher, ledger: Ledger) -> Running:
    """Start a gateway with these settings."""
    gateway = Gateway(settings)
    url = stack.enter_context(asgi_server(gateway, http=GatewayProtocol))
    return Running(url, settings, teacher, ledger, gateway, stack.enter_context(httpx.Client(timeout=20)))


@pytest.fixture
def gateway(tmp_path: Path, student_url: str) -> Iterator[Running]:
    """A gateway whose student is trusted with everything."""
    with ExitStack() as stack:
        running = run_gateway(stack, tmp_path, student_url)
        running.trust(*LABELS)
        yield running
