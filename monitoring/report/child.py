"""The process in which the monitor has the reports of one window written, so that reading goes on beside it.

It is told what to do on its standard input, and prints the paths of the pages as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Final

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from core.archive import Archive
from core.errors import StateError
from core.ledger import Ledger
from core.role import exit_code
from core.settings import Settings
from core.telemetry import configure_logging
from monitoring.report.build import versions_in
from monitoring.report.job import Job
from monitoring.report.window import Window
from monitoring.report.writing import write_report

_NICE: Final = 10


def write_reports(settings: Settings, task: str, window: Window, now: float) -> list[str]:
    """Write the reports of all versions; returns the pages' paths. Raises what `write_report` raises."""
    ledger = Ledger(settings.ledger_url)
    try:
        archive = Archive(settings.archive_url, ledger)
        return [
            str(write_report(settings, ledger, archive, task, version, window, now)[1])
            for version in versions_in(archive, ledger, task, window)
        ]
    finally:
        ledger.close()


def main() -> None:
    """Do what stands on the standard input."""
    os.nice(_NICE)
    try:
        job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    except msgspec.DecodeError as error:
        raise StateError(f"this is for the monitor to call ({error}); `tutelage report` is for people") from error
    try:
        pages = write_reports(Settings(**job.settings), job.task, job.window, job.now)
    except (OSError, SQLAlchemyError) as error:
        told = str(error).partition("\n")[0]
        raise StateError(f"ledger or archive cannot be read ({told}); they are tried again in an hour") from error
    sys.stdout.write(json.dumps(pages))


if __name__ == "__main__":
    configure_logging("report")
    raise SystemExit(exit_code(main))
