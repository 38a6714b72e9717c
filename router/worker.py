"""A gateway worker: one process that serves on a socket which its parent holds open."""

from __future__ import annotations

import argparse
import socket
from pathlib import Path

import uvicorn

from core.role import exit_code
from core.settings import Settings, load_settings
from core.telemetry import configure_logging
from router.app import Gateway


def serve(settings: Settings, listener: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT; requests under way get `gateway.drain_seconds` to end."""
    config = uvicorn.Config(
        Gateway(settings),
        http="httptools",
        loop="uvloop",
        access_log=False,
        log_level="warning",
        server_header=False,
        date_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=max(1, round(settings.gateway.drain_seconds)),
    )
    uvicorn.Server(config).run(sockets=[listener])


def main() -> int:
    """Entry point of `python -m router.worker`."""
    parser = argparse.ArgumentParser(prog="router.worker", description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--fd", type=int, required=True, help="file descriptor of the listening socket")
    arguments = parser.parse_args()
    configure_logging("gateway")
    return exit_code(lambda: serve(load_settings(arguments.config), socket.socket(fileno=arguments.fd)))


if __name__ == "__main__":
    raise SystemExit(main())
