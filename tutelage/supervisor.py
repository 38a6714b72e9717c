"""Child processes: started in order, restarted when they die, stopped in reverse order."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from core.errors import StartupError
from core.launch import launched

_log = structlog.get_logger(__name__)

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
_HEALTHY_SECONDS = 20.0
_STOP_SECONDS = 15.0
_TAIL_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Role:
    """One role as a process: its command, and whether it is ready."""

    name: str
    command: tuple[str, ...]
    ready: Callable[[], Awaitable[bool]]


def python(*arguments: str) -> tuple[str, ...]:
    """A command that runs a module of ours in this interpreter."""
    return (sys.executable, "-m", *arguments)


class Supervisor:
    """Keeps roles running until stopped. Each role's output goes to `<folder>/<name>.log`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._keepers: dict[str, asyncio.Task[None]] = {}
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._stopping = False

    async def start(self, role: Role, *, patience: float) -> None:
        """Start a role and wait until it is ready.

        Raises StartupError, with the last line that the role said, where it dies first or is not ready in time. Once it
        is ready, it is restarted whenever it dies.
        """
        await self._spawn(role)
        deadline = time.monotonic() + patience
        while not await role.ready():
            process = self._processes[role.name]
            if process.returncode is not None:
                raise StartupError(self._last_words(role) or f"{role.name} ended with code {process.returncode}")
            if time.monotonic() > deadline:
                raise StartupError(f"{role.name} is not ready after {patience:.0f} s; see {self._file(role)}")
            await asyncio.sleep(0.05)
        self._keepers[role.name] = asyncio.create_task(self._keep(role))

    async def stop(self) -> None:
        """Stop all roles, the last started first."""
        self._stopping = True
        for keeper in self._keepers.values():
            keeper.cancel()
        await asyncio.gather(*self._keepers.values(), return_exceptions=True)
        for name in reversed(self._processes):
            await _end(self._processes[name])

    async def _spawn(self, role: Role) -> asyncio.subprocess.Process:
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._file(role).open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *launched(role.command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # a terminal's Ctrl-C is ours to pass on, in order
            )
        self._processes[role.name] = process
        return process

    async def _keep(self, role: Role) -> None:
        pause = _FIRST_PAUSE
        while not self._stopping:
            process = self._processes[role.name]
            started = time.monotonic()
            code = await process.wait()
            if time.monotonic() - started > _HEALTHY_SECONDS:
                pause = _FIRST_PAUSE
            _log.error("role_died", role_name=role.name, code=code, restart_in_seconds=pause, log=str(self._file(role)))
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
            await self._spawn(role)

    def _file(self, role: Role) -> Path:
        return self._folder / f"{role.name}.log"

    def _last_words(self, role: Role) -> str:
        """The role's last line, which for a TutelageError is its message."""
        with contextlib.suppress(OSError):
            tail = self._file(role).read_bytes()[-_TAIL_BYTES:].decode(errors="replace").strip().splitlines()
            if tail:
                return tail[-1].removeprefix("error: ")
        return ""


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), _STOP_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
