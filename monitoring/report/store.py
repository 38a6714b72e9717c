"""Where reports lie, and for how long: `<state>/reports/<task>/<version>/<from>--<to>/`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final
from urllib.parse import quote

import msgspec

from core.errors import DataError
from core.settings import Settings
from core.whole_file import write_whole
from monitoring.report.facts import Report
from monitoring.report.window import DAY, Window

JSON: Final = "report.json"
HTML: Final = "report.html"
EVIDENTLY: Final = "evidently.html"
_UNTIL: Final = "written_until.json"


def folder_of(settings: Settings, task: str, version: str, window: Window) -> Path:
    """The folder of one report."""
    return _of_task(settings, task) / _safe(version) / window.name


def write(folder: Path, report: Report, page: str) -> Path:
    """Write both files of a report, in the place of older ones; returns the page's path.

    Raises DataError where the folder cannot be written.
    """
    try:
        write_whole(folder / HTML, page.encode())
        write_whole(folder / JSON, as_json(report) + b"\n")
    except OSError as error:
        raise DataError(f"{folder}: cannot be written ({error.strerror}); make room there, or make it ours") from error
    return folder / HTML


def as_json(report: Report) -> bytes:
    """A report as data."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2)


def prune(settings: Settings, task: str, days: float | None, now: float) -> int:
    """Remove a task's reports that were written more than `days` ago; returns how many. None: none is.

    `now`: seconds since the epoch. Raises OSError.
    """
    if days is None:
        return 0
    count = 0
    for version in _folders(_of_task(settings, task)):
        for folder in _folders(version):
            if _written(folder) < now - days * DAY:
                shutil.rmtree(folder)
                count += 1
        if not any(version.iterdir()):
            version.rmdir()
    return count


def written_until(settings: Settings, task: str) -> float | None:
    """The end of the newest window of which all reports are written; None where there never was one."""
    try:
        return float(msgspec.json.decode((_of_task(settings, task) / _UNTIL).read_bytes(), type=float))
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def note_written_until(settings: Settings, task: str, at: float) -> None:
    """Note that. Raises OSError."""
    write_whole(_of_task(settings, task) / _UNTIL, msgspec.json.encode(at))


def _of_task(settings: Settings, task: str) -> Path:
    return settings.state / "reports" / task


def _folders(folder: Path) -> list[Path]:
    return sorted(one for one in folder.iterdir() if one.is_dir()) if folder.is_dir() else []


def _written(folder: Path) -> float:
    """When a report was written; of one that was not finished, when its folder was last changed."""
    file = folder / JSON
    return (file if file.is_file() else folder).stat().st_mtime


def _safe(version: str) -> str:
    """A version's name as a folder's: a registry elsewhere may call versions as it likes."""
    name = quote(version, safe="")
    return name if name.strip(".") else name.replace(".", "%2E") or "%"
