"""The settings of two tasks, and their ledger, for commands that people run on them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.ledger import Ledger
from tests.support.processes import write_settings


@pytest.fixture
def config(tmp_path: Path) -> Path:
    task = {"labels": ["a", "b"], "teacher": {"base_url": "http://127.0.0.1:1/v1", "model": "t"}}
    document = {"state": str(tmp_path / "state"), "tasks": {"desk": task, "mail": task}}
    return write_settings(tmp_path / "tutelage.yaml", document)


@pytest.fixture
def ledger(tmp_path: Path, config: Path) -> Iterator[Ledger]:
    ledger = Ledger(f"sqlite:///{tmp_path}/state/ledger.db")
    ledger.migrate()
    yield ledger
    ledger.close()
