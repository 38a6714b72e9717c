"""A student server as a process of its own, on a free loopback port."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def run_server(*arguments: str, port: int, wait_ready: bool = True) -> Iterator[subprocess.Popen[str]]:
    """Start `python -m server.serve`, wait until it is ready, and stop it at the end."""
    process = start_server(*arguments, "--port", str(port))
    try:
        if wait_ready:
            wait_until_ready(process, port)
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def start_server(*arguments: str) -> subprocess.Popen[str]:
    """Start the process and return at once."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "server.serve", *arguments]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def wait_until_ready(process: subprocess.Popen[str], port: int, timeout: float = 30.0) -> None:
    """Return once `/readyz` says 200."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the student server ended: {process.communicate()[1]}")
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200:
                return
        time.sleep(0.02)
    raise TimeoutError("the student server is not ready")
