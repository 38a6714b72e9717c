"""The gateway as its users run it, process and all, for tests that abuse it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest
import structlog

from tests.abuse.house import House, open_house
from tests.router.conftest import student_url

__all__ = ["student_url"]


@pytest.fixture(scope="session", autouse=True)
def plain_logs() -> Iterator[None]:
    """Log as in production: what structlog does by itself shows local variables, and takes its time for that."""
    structlog.configure(processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()])
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory, student_url: str) -> Iterator[House]:
    """A gateway that is as impatient as it can be without failing on a busy machine. It must keep its secrets."""
    with ExitStack() as stack:
        opened = open_house(stack, tmp_path_factory.mktemp("abuse"), student_url)
        yield opened
        opened.is_well()
        opened.metrics = httpx.get(f"{opened.url}/metrics").content
    opened.keeps_its_secrets()
