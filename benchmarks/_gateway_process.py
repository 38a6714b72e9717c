"""Processes of `benchmarks.gateway`: started on one core, watched, ended."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import httpx
import psutil

ROOT: Final = Path(__file__).resolve().parent.parent
_STOP_SECONDS: Final = 15.0
_KILL_SECONDS: Final = 5.0


class StartError(Exception):
    """A program could not be started; the message says why."""


@contextlib.contextmanager
def pinned(
    command: Sequence[str], core: int, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[psutil.Process]:
    """Run `command` on one core; everything that it prints goes to `log`. It is ended, children included, in the end.

    It is pinned before it starts, so that a program that looks for cores finds one and makes its threads for one.
    Raises StartError where there is no such program.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        try:
            child = subprocess.Popen(
                ["taskset", "-c", str(core), *command],
                cwd=ROOT,
                env=os.environ | (environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise StartError(f"{command[0]} cannot be run: {error.strerror}") from error
    process = psutil.Process(child.pid)
    try:
        yield process
    finally:
        started = family(process)
        child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(_STOP_SECONDS)
        for member in started:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        child.wait()
        psutil.wait_procs(started, _KILL_SECONDS)


def wait_until_answers(url: str, process: psutil.Process, log: Path, seconds: float = 90.0) -> None:
    """Wait until a GET of `url` is answered with 200. Raises StartError, with the end of the log, where it never is."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(url, timeout=2.0).status_code == 200:
                return
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            raise StartError(f"it ended before it answered: {_last_words(log)}")
        if time.monotonic() > deadline:
            raise StartError(f"it did not answer within {seconds:.0f} s: {_last_words(log)}")
        time.sleep(0.05)


def move(process: psutil.Process, core: int) -> None:
    """Put a running process, with all its threads, on a core."""
    for thread in process.threads():
        with contextlib.suppress(ProcessLookupError):  # a thread that has ended meanwhile
            os.sched_setaffinity(thread.id, {core})


def cpu_seconds(processes: Iterable[psutil.Process]) -> float:
    """CPU time of the processes, user and system, in steps of the kernel's 10 ms."""
    return sum(spent.user + spent.system for spent in (process.cpu_times() for process in processes))


def resident_mib(processes: Iterable[psutil.Process]) -> float:
    """Memory that they hold."""
    return sum(float(process.memory_info().rss) for process in processes) / 2**20


def family(process: psutil.Process) -> list[psutil.Process]:
    """The process and all that it has started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return [process, *process.children(recursive=True)]
    return []


def _last_words(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1][-300:] if lines else "it said nothing"
