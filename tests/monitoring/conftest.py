from __future__ import annotations

from collections.abc import Iterator

import pytest

from core.ledger import Ledger
from tests.support.monitoring_world import World


@pytest.fixture
def ledger(tmp_path) -> Iterator[Ledger]:
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    ledger.migrate()
    yield ledger
    ledger.close()


@pytest.fixture
def world() -> World:
    return World()
