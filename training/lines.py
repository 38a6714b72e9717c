"""Progress as JSON lines on standard output, for whoever started this process and draws the bar."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from core.errors import TutelageError
from core.settings import Settings, load_settings
from core.telemetry import configure_logging
from training.progress import Progress, Report

_AT_MOST_EVERY: Final = 0.1  # seconds between two lines of a stage, but for its first and last


class LineReport:
    """Writes one JSON object a line: `{"stage", "done", "total", "message"}`."""

    def __init__(self) -> None:
        self._stage = ""
        self._written = 0.0

    def __call__(self, progress: Progress) -> None:
        """Write a line, unless the stage's last one is very recent."""
        now = time.monotonic()
        ends = progress.done >= progress.total
        if progress.stage == self._stage and not ends and now - self._written < _AT_MOST_EVERY:
            return
        self._stage, self._written = progress.stage, now
        sys.stdout.write(msgspec.json.encode(progress).decode() + "\n")
        sys.stdout.flush()


def run_with_lines(program: str, description: str | None, work: Callable[[Settings, str, Report], str]) -> int:
    """The main function of a process that works on a task and tells how far it is.

    Reads `--config` and `--task`, runs `work(settings, task, report)`, and ends with a line of stage `done` that holds
    its message. Returns the process's exit code: 0, or 1 after one clear line on standard error.
    """
    parser = argparse.ArgumentParser(prog=program, description=description)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--task", required=True)
    arguments = parser.parse_args()
    configure_logging("trainer")
    report = LineReport()
    try:
        message = work(load_settings(arguments.config), arguments.task, report)
    except TutelageError as error:
        sys.stderr.write(f"error: {error.message}\n")
        return 1
    report(Progress("done", 1, 1, message))
    return 0
