"""A gateway worker: one process that serves on a socket which its parent holds open, and reports to its parent."""

from __future__ import annotations

import argparse
import contextlib
import resource
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import uvicorn
import uvloop

from core.role import exit_code
from core.settings import Settings, load_settings
from core.telemetry import configure_logging
from router.app import Gateway
from router.metrics import Reporter
from router.protocol import GatewayProtocol


async def serve(settings: Settings, listener: socket.socket, metrics: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT; requests under way get `gateway.drain_seconds` to end.

    `metrics` is this worker's end of a socket pair, over which the parent gets its numbers.
    """
    gateway = Gateway(settings)
    config = uvicorn.Config(
        gateway,
        http=GatewayProtocol,
        proxy_headers=False,  # nothing here depends on who is at the other end
        access_log=False,
        log_level="warning",
        server_header=False,
        date_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=max(1, round(settings.gateway.drain_seconds)),
    )
    await _Server(config, Reporter(gateway.metrics, metrics)).serve(sockets=[listener])


class _Server(uvicorn.Server):
    """uvicorn that reports as long as it serves, and returns after a signal, rather than die of it."""

    def __init__(self, config: uvicorn.Config, reporter: Reporter) -> None:
        super().__init__(config)
        self._reporter = reporter

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await self._reporter.start()
        await super().startup(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        await self._reporter.stop()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, self.handle_exit)
        yield


def main() -> int:
    """Entry point of `python -m router.worker`."""
    parser = argparse.ArgumentParser(prog="router.worker", description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--fd", type=int, required=True, help="file descriptor of the listening socket")
    parser.add_argument("--metrics-fd", type=int, required=True, help="file descriptor of the way to the parent")
    given = parser.parse_args()
    configure_logging("gateway")
    _allow_descriptors()
    listener, metrics = socket.socket(fileno=given.fd), socket.socket(fileno=given.metrics_fd)
    return exit_code(lambda: uvloop.run(serve(load_settings(given.config), listener, metrics)))


def _allow_descriptors() -> None:
    """Take as many as the system allows: a request needs two, and shells and service managers like to begin at 1024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # a container may forbid even that
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    raise SystemExit(main())
