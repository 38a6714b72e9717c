"""The gateway role: binds its address, and becomes the parent of the workers that serve there."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from pathlib import Path

import structlog

from core.errors import StartupError
from core.role import run_role
from core.settings import Settings, load_settings
from router.admission.keykeeper import has_valid_key
from router.listening import listen
from router.parent import Parent

_log = structlog.get_logger(__name__)


def bind(settings: Settings) -> socket.socket:
    """Bind and listen.

    Raises StartupError where the port is taken, or where other machines could reach an address that no API key guards.
    """
    host, port = settings.gateway.host, settings.gateway.port
    if not _is_loopback(host) and not has_valid_key(settings):
        raise StartupError(
            f"gateway.host {host} is open to other machines, and there is no valid API key to guard it; create one "
            "with `tutelage keys create NAME`, or bind 127.0.0.1"
        )
    return listen(host, port, shared=settings.gateway.workers > 1)


def _work(config: Path) -> None:
    settings = load_settings(config)
    listener = bind(settings)
    _log.info("gateway_listening", address=f"http://{settings.gateway.host}:{listener.getsockname()[1]}/v1")
    asyncio.run(Parent(config, settings, listener).run())


def main() -> int:
    """Entry point of `python -m router.serve`."""
    return run_role("gateway", "router.serve", __doc__, _work)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


if __name__ == "__main__":
    raise SystemExit(main())
