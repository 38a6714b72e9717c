"""A gateway for clients to talk to, and a way to run those that live in another environment than the product's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.router.conftest import Running, run_gateway, student_url
from tests.support.openai_server import Teacher
from tests.support.processes import asgi_server
from tests.support.students import LABELS

__all__ = ["student_url"]

FOLDER = Path(__file__).parent
PEERS = Path(__file__).resolve().parents[3] / ".venv-peers"

# No client may call home, nor look for anything that is not on this machine.
QUIET = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "LANGCHAIN_TRACING_V2": "false",
    "LANGSMITH_TRACING": "false",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_TELEMETRY": "False",
    "NO_COLOR": "1",
}


@dataclass
class House:
    """A gateway whose student is trusted with everything, its task's teacher, and a default upstream."""

    gateway: Running
    upstream: Teacher

    @property
    def url(self) -> str:
        return f"{self.gateway.url}/v1"

    @property
    def teacher(self) -> Teacher:
        return self.gateway.teacher


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, student_url: str) -> Iterator[House]:
    with ExitStack() as stack:
        upstream = Teacher(label="from elsewhere")
        passthrough = {"base_url": f"{stack.enter_context(asgi_server(upstream))}/v1", "models": ["big-*"]}
        folder = tmp_path_factory.mktemp("clients")
        running = run_gateway(stack, folder, student_url, passthrough=passthrough)
        running.trust(*LABELS)
        yield House(running, upstream)


@pytest.fixture
def run_script(house: House, tmp_path: Path) -> Callable[..., Any]:
    """Run a script in the peers' environment and return the JSON that it prints."""

    def run(name: str) -> Any:
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)} | QUIET
        if name.endswith(".cjs"):
            environment["NODE_PATH"] = str(PEERS / "node_modules")
            command = [_found(shutil.which("node"), "node"), str(FOLDER / name), house.url]
            _found(PEERS / "node_modules" / "openai", "the npm package openai")
        else:
            command = [_found(PEERS / "bin" / "python", "the peers' environment"), str(FOLDER / name), house.url]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture
def run_llm(house: House, tmp_path: Path) -> Callable[..., str]:
    """Run the command `llm` with the task as one of its models, and return what it prints."""

    def run(*arguments: str) -> str:
        command = [_found(PEERS / "bin" / "llm", "the peers' environment"), *arguments]
        kinds: dict[str, dict[str, bool]] = {
            "chat": {},
            "responses": {"responses": True},
            "completion": {"completion": True},
        }
        models = [
            {"model_id": name, "model_name": "desk", "api_base": house.url} | more for name, more in kinds.items()
        ]
        (tmp_path / "extra-openai-models.yaml").write_text(json.dumps(models), encoding="utf-8")  # JSON is YAML
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LLM_USER_PATH": str(tmp_path)} | QUIET
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


def _found(path: Path | str | None, what: str) -> str:
    if path is None or not Path(path).exists():
        pytest.skip(f"{what} is missing: run `make peers` (and install Node for what needs it)")
    return str(path)
