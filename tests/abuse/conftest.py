"""The gateway as its users run it, processes and all, for tests that abuse it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.abuse.house import House, open_house
from tests.support.processes import free_port, module_process, wait_for
from tests.support.students import write_student


@pytest.fixture(scope="session")
def student_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A student server with the cue-word student."""
    folder = write_student(tmp_path_factory.mktemp("student") / "desk")
    port = free_port()
    with module_process("server.serve", "--model", f"desk={folder}", "--port", str(port)) as process:
        wait_for(f"http://127.0.0.1:{port}/readyz", process=process)
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory, student_url: str) -> Iterator[House]:
    """A gateway with one worker, which is as impatient as it can be without failing on a busy machine."""
    with ExitStack() as stack:
        yield open_house(stack, tmp_path_factory.mktemp("abuse"), student_url)
