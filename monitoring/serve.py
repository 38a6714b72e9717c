"""The monitor role: watches the tasks, each through a lease of its own, and serves metrics."""

from __future__ import annotations

import asyncio
import signal

import structlog

from core.journal import Journal
from core.lease import Leases
from core.ledger import Ledger
from core.role import run_role
from core.role_pages import role_pages
from core.settings import Settings, load_settings
from monitoring.metrics import Metrics
from monitoring.reader import TaskReader

_log = structlog.get_logger("tutelage.monitor")


async def watch_until_stopped(settings: Settings) -> None:
    """Watch until SIGTERM or SIGINT; what was read by then is stored."""
    stopped = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stopped.set)
    ledger = Ledger(settings.ledger_url)
    ledger.migrate()
    leases = Leases(settings.redis.address)
    readers: list[TaskReader] = []
    metrics = Metrics(readers)
    # A journal each: a reader that waits for news holds its connection.
    journals = [Journal.connect(settings.redis.address) for _ in settings.tasks]
    for journal, (name, task) in zip(journals, settings.tasks.items(), strict=True):
        readers.append(
            TaskReader(
                name,
                task,
                journal,
                leases,
                ledger,
                snapshot_seconds=settings.monitor.snapshot_seconds,
                on_snapshot=metrics.draw,
            )
        )
    metrics.draw()
    address = settings.monitor
    try:
        async with role_pages("monitor", address.host, address.port, lambda: metrics.text) as pages:
            running = [asyncio.create_task(reader.run(), name=f"watch-{reader.task}") for reader in readers]
            _log.info("monitor_started", pages=pages)
            await stopped.wait()
            for work in running:
                work.cancel()
            await asyncio.wait(running)
            for reader in readers:
                await reader.stop()
    finally:
        for journal in journals:
            await journal.close()
        await leases.close()
        ledger.close()


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
