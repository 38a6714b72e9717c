"""The archiver role: journal to archive, as a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import signal

import structlog

from core.archive import Archive
from core.archiver import Archiver
from core.archiver.metrics import ArchiverMetrics
from core.journal import Journal
from core.ledger import Ledger
from core.role import run_role
from core.role_pages import role_pages
from core.settings import Settings, load_settings

_log = structlog.get_logger(__name__)

_DRAIN_SECONDS = 10.0


async def archive_until_stopped(settings: Settings) -> None:
    """Archive until SIGTERM or SIGINT; what is journalled by then is archived first."""
    stopped = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stopped.set)
    ledger = Ledger(settings.ledger_url)
    ledger.migrate()
    journal = Journal.connect(settings.redis.address)
    archiver = Archiver(
        journal,
        Archive(settings.archive_url, ledger),
        ledger,
        flush_seconds=settings.archive.flush_seconds,
        flush_rows=settings.archive.flush_rows,
        stream_bytes=settings.redis.stream_bytes,
        retention_days=settings.retention_days,
    )
    address = settings.archive
    async with role_pages("archive", address.host, address.port, ArchiverMetrics(archiver).render) as pages:
        _log.info("archiver_started", pages=pages, archive=settings.archive_url)
        archiving = asyncio.create_task(archiver.run())
        await stopped.wait()
        if not await archiver.drain(_DRAIN_SECONDS):
            _log.warning("archive_not_caught_up", hint="what is missing is in the journal: the next start archives it")
        archiving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await archiving
    await journal.close()
    ledger.close()


def main() -> int:
    """Entry point of `python -m tutelage.archiver`."""
    return run_role(
        "archiver",
        "tutelage.archiver",
        __doc__,
        lambda config: asyncio.run(archive_until_stopped(load_settings(config))),
    )


if __name__ == "__main__":
    raise SystemExit(main())
