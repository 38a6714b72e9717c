"""Longer work in a process of its own, which says on standard output, in JSON lines, how far it is."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

import msgspec

from core.errors import TutelageError
from core.launch import launched

_DONE = "done"
"""The stage that only a process which has done its work reaches."""


class StageLine(msgspec.Struct):
    """One line of such a process: `done` of `total` steps of a stage; `message` is for a person."""

    stage: str
    done: int = 0
    total: int = 0
    message: str = ""


OnLine = Callable[[StageLine], None]


async def run_stages(command: tuple[str, ...], log: Path, on_line: OnLine) -> str:
    """Run `command`, hand every line to `on_line`, and return the last message.

    Raises TutelageError with the process's last words where it fails. A cancelled call ends the process.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            *launched(command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
    last = StageLine("")
    try:
        if process.stdout is not None:
            async for line in process.stdout:
                with contextlib.suppress(msgspec.DecodeError):  # a library's stray print is not ours to stumble over
                    last = msgspec.json.decode(line, type=StageLine)
                    on_line(last)
        code = await process.wait()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    if last.stage != _DONE:  # said before the process ends: a crash on its way out, after its work, is no failure
        raise TutelageError(f"{_last_words(log) or f'ended with code {code}'} (see {log})")
    return last.message


def _last_words(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1].removeprefix("error: ") if lines else ""
