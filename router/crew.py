"""The gateway's workers, as their parent sees them: started, started again when they die, stopped together.

A worker's listening socket stays open in the parent while the worker is replaced, so that connections wait in its
backlog rather than being refused. One that dies again and again gives its part of the connections to the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import time
from pathlib import Path
from typing import Final

import structlog

from core.errors import StartupError
from core.launch import launched
from router.listening import sibling
from router.metrics import MetricsHub

_log = structlog.get_logger(__name__)

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 10.0
_HEALTHY_SECONDS: Final = 10.0
_PATIENT_SECONDS: Final = 1.0
"""Connections wait so long for a worker; where it stays away for longer, others take them."""


class Crew:
    """Keeps one worker for each place at work. The attributes are for metrics."""

    def __init__(self, config: Path, listener: socket.socket, workers: int, hub: MetricsHub) -> None:
        """`listener` is the first worker's; with several workers it was made for sharing."""
        self.restarts = 0
        """Workers that died and were replaced."""
        self._config = config
        self._hub = hub
        self._listeners: list[socket.socket | None] = [listener, *(sibling(listener) for _ in range(workers - 1))]
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._reports: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()

    @property
    def pids(self) -> list[int]:
        """The processes of the workers that live."""
        return [process.pid for process in self._processes.values() if process.returncode is None]

    async def work(self) -> None:
        """Keep all workers at work until `stop`."""
        async with asyncio.TaskGroup() as group:
            for place in range(len(self._listeners)):
                group.create_task(self._keep(place))

    async def stop(self, patience: float) -> None:
        """Let all workers end what is under way, at once; kill those that take longer than `patience` seconds."""
        self._stopping.set()
        for place in range(len(self._listeners)):
            self._shut(place)  # a client that comes now hears at once that nobody is there, rather than wait in vain
        await asyncio.gather(*(_end(process, patience) for process in self._processes.values()))
        await asyncio.gather(*self._reports)

    async def _keep(self, place: int) -> None:
        pause = _FIRST_PAUSE
        while not self._stopping.is_set():
            started = time.monotonic()
            why = await self._live(place)
            if self._stopping.is_set():
                return
            if time.monotonic() - started > _HEALTHY_SECONDS:
                pause = _FIRST_PAUSE
            _log.error("worker_died", worker=place, why=why, restart_in_seconds=pause)
            self.restarts += 1
            if pause > _PATIENT_SECONDS and self._others_listen(place):
                self._shut(place)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _live(self, place: int) -> str:
        """One worker's life; returns how it ended."""
        try:
            process = await self._start(place)
        except (OSError, StartupError) as error:  # no process or no socket to be had
            return str(error)
        if self._stopping.is_set():
            await _end(process, 0)
        return f"exit code {await process.wait()}"

    async def _start(self, place: int) -> asyncio.subprocess.Process:
        ours, theirs = socket.socketpair()
        with theirs:
            listener = self._open(place)
            descriptors = (listener.fileno(), theirs.fileno())
            options = ("--config", str(self._config), "--fd", str(descriptors[0]), "--metrics-fd", str(descriptors[1]))
            process = await asyncio.create_subprocess_exec(
                *launched((sys.executable, "-m", "router.worker", *options)),
                pass_fds=descriptors,
                start_new_session=True,  # a terminal's Ctrl-C reaches the parent alone, which then stops its workers
            )
        self._processes[place] = process
        report = asyncio.create_task(self._hub.serve(ours))
        self._reports.add(report)
        report.add_done_callback(self._reports.discard)
        return process

    def _open(self, place: int) -> socket.socket:
        """The place's socket. Where it was shut, nobody is to wait in it until the worker has shown it can live."""
        listener = self._listeners[place]
        if listener is None:
            other = next(other for other in self._listeners if other is not None)
            listener = self._listeners[place] = sibling(other, listening=False)
        return listener

    def _shut(self, place: int) -> None:
        listener, self._listeners[place] = self._listeners[place], None
        if listener is not None:
            listener.close()

    def _others_listen(self, place: int) -> bool:
        return any(listener is not None for at, listener in enumerate(self._listeners) if at != place)


async def _end(process: asyncio.subprocess.Process, patience: float) -> None:
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), patience)
    except TimeoutError:
        process.kill()
        await process.wait()
