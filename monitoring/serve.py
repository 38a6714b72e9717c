"""The monitor role: watches the tasks, each through a lease of its own, and serves metrics."""

from __future__ import annotations

import asyncio
import atexit
import gc
import signal
import sys
from typing import Final

import structlog

from core.journal import Journal
from core.lease import Leases
from core.ledger import Ledger
from core.role import run_role
from core.role_pages import role_pages_beside
from core.settings import Settings, load_settings
from core.verdicts import keep_carrying
from monitoring.metrics import Metrics
from monitoring.notify import open_notifier
from monitoring.reader import TaskReader
from monitoring.report.keeper import ReportKeeper
from monitoring.turns import Turns

_SWITCH_SECONDS: Final = 0.0005

_log = structlog.get_logger("tutelage.monitor")


async def watch_until_stopped(settings: Settings) -> None:
    """Watch until SIGTERM or SIGINT; what was read by then is stored."""
    stopped = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stopped.set)
    ledger = Ledger(settings.ledger_url)
    ledger.migrate()
    notifier = open_notifier(settings, ledger)
    leases = Leases(settings.redis.address)
    readers: list[TaskReader] = []
    metrics, turns = Metrics(readers), Turns()
    # A journal each: a reader that waits for news holds its connection.
    journals = [Journal.connect(settings.redis.address) for _ in settings.tasks]
    outgoing = Journal.connect(settings.redis.address)
    for journal, (name, task) in zip(journals, settings.tasks.items(), strict=True):
        readers.append(
            TaskReader(
                name,
                task,
                journal,
                leases,
                ledger,
                snapshot_seconds=settings.monitor.snapshot_seconds,
                on_snapshot=metrics.redraw,
                archive_url=settings.archive_url,
                turns=turns,
            )
        )
    metrics.draw()
    _be_responsive()
    address = settings.monitor
    try:
        async with role_pages_beside("monitor", address.host, address.port, lambda: metrics.text) as pages:
            running = [asyncio.create_task(reader.run(), name=f"watch-{reader.task}") for reader in readers]
            running.append(asyncio.create_task(keep_carrying(ledger, outgoing), name="carry-verdicts"))
            running.append(asyncio.create_task(notifier.run(leases), name="notify"))
            running.append(asyncio.create_task(ReportKeeper(settings, readers).run(), name="report"))
            _log.info("monitor_started", pages=pages)
            await stopped.wait()
            for work in running:
                work.cancel()
            await asyncio.wait(running)
            for reader in readers:
                await reader.stop()
    finally:
        for journal in (*journals, outgoing):
            await journal.close()
        await leases.close()
        ledger.close()


def _be_responsive() -> None:
    """Let a scrape, which a thread of its own answers, not wait for much.

    Neither five milliseconds for each turn, nor for the collector looking through all that was imported.
    """
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.freeze()
    atexit.register(gc.unfreeze)  # DuckDB complains of what nobody collects in the end


def main() -> int:
    """Entry point of `python -m monitoring.serve`."""
    return run_role(
        "monitor",
        "monitoring.serve",
        __doc__,
        lambda config: asyncio.run(watch_until_stopped(load_settings(config))),
    )


if __name__ == "__main__":
    raise SystemExit(main())
