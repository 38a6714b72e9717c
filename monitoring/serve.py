"""The monitor role: watches the tasks, each through a lease of its own, and serves metrics."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from core.errors import StartupError, TutelageError
from core.journal import Journal
from core.lease import Leases
from core.ledger import Ledger
from core.settings import MonitorSettings, Settings, load_settings
from core.telemetry import configure_logging
from monitoring.exposition import CONTENT_TYPE
from monitoring.metrics import Metrics
from monitoring.reader import TaskReader

_BACKLOG: Final = 128

_log = structlog.get_logger("tutelage.monitor")


async def watch_until_stopped(settings: Settings, listener: socket.socket) -> None:
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
    server = _Server(uvicorn.Config(_app(metrics), lifespan="off", access_log=False, log_config=None))
    running = [asyncio.create_task(reader.run(), name=f"watch-{reader.task}") for reader in readers]
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="metrics")
    _log.info("monitor_started", address=f"http://{settings.monitor.host}:{listener.getsockname()[1]}/metrics")
    await stopped.wait()
    server.should_exit = True
    for work in running:
        work.cancel()
    await asyncio.wait([*running, serving])
    for reader in readers:
        await reader.stop()
    for journal in journals:
        await journal.close()
    await leases.close()
    ledger.close()


def bind(settings: MonitorSettings) -> socket.socket:
    """Listen for scrapes. Raises StartupError where the address cannot be had."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        taken = "is taken; stop what uses it, or" if error.errno == errno.EADDRINUSE else f"({error.strerror}):"
        raise StartupError(
            f"the monitor cannot listen on {settings.host}: port {settings.port} {taken} set monitor.port "
            "(TUTELAGE_MONITOR__PORT)"
        ) from error
    return listener


def _app(metrics: Metrics) -> Starlette:
    async def scrape(_request: Request) -> Response:
        return Response(metrics.text, media_type=CONTENT_TYPE)

    async def health(_request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    return Starlette(routes=[Route("/metrics", scrape), Route("/healthz", health), Route("/readyz", health)])


class _Server(uvicorn.Server):
    """uvicorn, but signals are this role's own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def main() -> int:
    """Entry point of `python -m monitoring.serve`."""
    parser = argparse.ArgumentParser(prog="monitoring.serve", description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    arguments = parser.parse_args()
    configure_logging("monitor")
    try:
        settings = load_settings(arguments.config)
        with bind(settings.monitor) as listener:
            asyncio.run(watch_until_stopped(settings, listener))
    except TutelageError as error:
        print(f"error: {error.message}", file=sys.stderr)  # noqa: T201  # the one line that a person reads
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
