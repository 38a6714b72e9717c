"""The gateway role: holds the listening socket, keeps a worker alive, and ships the local log to the journal.

The socket stays open in this process, so that connections wait in its backlog, rather than being refused, while a
worker that died is replaced. The shipper runs here, so that it outlives any worker and ships what a killed one left.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import signal
import socket
import sys
import time
from pathlib import Path

import structlog

from core.errors import StartupError
from core.journal import Journal
from core.launch import launched
from core.role import run_role
from core.settings import GatewaySettings, Settings, load_settings
from core.shipper import Shipper

_log = structlog.get_logger(__name__)

_BACKLOG = 2048
_LONGEST_PAUSE = 10.0
_HEALTHY_SECONDS = 10.0


def bind(settings: GatewaySettings) -> socket.socket:
    """Bind and listen. Raises StartupError where the port is taken or the address is open to others."""
    if not _is_loopback(settings.host):
        raise StartupError(
            f"gateway.host {settings.host} is open to other machines, and there are no API keys yet to guard it; "
            "bind 127.0.0.1 and put a proxy that authenticates in front"
        )
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise StartupError(
                f"port {settings.port} is taken; stop what uses it, or set gateway.port (TUTELAGE_GATEWAY__PORT)"
            ) from error
        raise StartupError(f"cannot bind {settings.host}:{settings.port}: {error.strerror}") from error
    listener.listen(_BACKLOG)
    listener.set_inheritable(True)
    return listener


class Parent:
    """Keeps the worker and the shipper going until told to stop."""

    def __init__(self, config: Path, settings: Settings, listener: socket.socket) -> None:
        self._config = config
        self._settings = settings
        self._listener = listener
        self._stopping = asyncio.Event()
        self._worker: asyncio.subprocess.Process | None = None

    async def run(self) -> None:
        """Run until `stop`. The worker goes first, then what it logged is shipped as far as Redis allows."""
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, self._stopping.set)
        shipper = Shipper(self._settings.log_folder, Journal.connect(self._settings.redis.address))
        shipping = asyncio.create_task(shipper.run())
        working = asyncio.create_task(self._keep_working())
        await self._stopping.wait()
        await self._stop_worker()
        await working
        await shipper.drain(self._settings.gateway.drain_seconds)
        shipping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await shipping

    async def _keep_working(self) -> None:
        pause = 0.1
        while not self._stopping.is_set():
            started = time.monotonic()
            self._worker = await self._start_worker()
            code = await self._worker.wait()
            if self._stopping.is_set():
                return
            if time.monotonic() - started > _HEALTHY_SECONDS:
                pause = 0.1
            _log.error("worker_died", code=code, restart_in_seconds=pause)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _start_worker(self) -> asyncio.subprocess.Process:
        descriptor = self._listener.fileno()
        options = ("--config", str(self._config), "--fd", str(descriptor))
        command = (sys.executable, "-m", "router.worker", *options)
        return await asyncio.create_subprocess_exec(
            *launched(command),
            pass_fds=(descriptor,),
            start_new_session=True,  # a terminal's Ctrl-C reaches this process alone, which then stops its worker
        )

    async def _stop_worker(self) -> None:
        worker = self._worker
        if worker is None or worker.returncode is not None:
            return
        worker.terminate()
        try:
            await asyncio.wait_for(worker.wait(), self._settings.gateway.drain_seconds + 5)
        except TimeoutError:
            worker.kill()
            await worker.wait()


def _work(config: Path) -> None:
    settings = load_settings(config)
    listener = bind(settings.gateway)
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
