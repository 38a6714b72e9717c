"""A ledger, an archive and a journal, empty and real."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from core.archive import Archive
from core.journal import Journal
from core.ledger import Ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    ledger.migrate()
    yield ledger
    ledger.close()


@pytest.fixture
def archive(tmp_path: Path, ledger: Ledger) -> Archive:
    return Archive(str(tmp_path / "archive"), ledger)


@pytest.fixture
async def journal(redis_url: str) -> AsyncIterator[Journal]:
    journal = Journal.connect(redis_url)
    yield journal
    await journal.close()
