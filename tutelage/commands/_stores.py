"""The stores that commands about students and runs work on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.settings import Settings
    from training.runs import RunContext

PERSON = "person"
"""Who acts, in the audit trail, where a command does."""


@contextmanager
def opened(settings: Settings) -> Iterator[RunContext]:
    """Ledger, registry and archive, while the block runs. Heavy imports happen here, not with the command line."""
    from core.archive import Archive
    from core.ledger import Ledger
    from training.runs import RunContext
    from training.workflow import open_registry

    ledger = Ledger(settings.ledger_url)
    try:
        ledger.migrate()
        archive = Archive(settings.archive_url, ledger)
        yield RunContext(settings, ledger, open_registry(settings), archive, actor=PERSON)
    finally:
        ledger.close()
