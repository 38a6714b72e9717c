"""Taking examples out of runs' data: what must be forgotten, and what is older than is kept. The run says so then.

A run's folder holds texts in two files: its data set, and what it has asked the teacher about. Its report quotes none.
What its candidate has learnt from an example stays in the candidate's weights; a new run's data no longer holds it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from core.errors import DataError
from core.ledger import DataDeletion, Ledger
from core.settings import Settings
from training.runs.label_recent import ASKED_FILE
from training.runs.prepare import DATA_FILE
from training.whole import write_whole

Gone = Callable[[str, float], bool]
"""Whether an exchange must go, by its id and when it was asked (seconds since the epoch)."""

_DAY: Final = 86_400.0
_RETENTION_SECONDS: Final = 3600.0
_MARKS: Final = ("<!-- deleted data -->", "<!-- end of deleted data -->")

_log = structlog.get_logger("tutelage.trainer")


class _Line(msgspec.Struct):
    """What decides about an example, whatever else a line holds."""

    exchange: str = ""
    at: float = 0.0


_line_decoder = msgspec.json.Decoder(_Line)


@dataclass(frozen=True, slots=True)
class Removed:
    """What was taken out of how many runs' data."""

    runs: int = 0
    examples: int = 0


class DataKeeper:
    """Keeps the runs of this machine free of what must not be there. Call `tick` now and then."""

    def __init__(self, settings: Settings, ledger: Ledger, clock: Callable[[], float] = time.time) -> None:
        """`clock`: seconds since the epoch."""
        self._settings = settings
        self._ledger = ledger
        self._clock = clock
        self._tombstones = ledger.forgotten.tombstones()
        self._due = 0.0

    def tick(self) -> None:
        """Do what is due. Raises DataError where a file cannot be written, SQLAlchemyError while the ledger is away."""
        if self._tombstones.refresh() and self._tombstones:
            self._say("forgotten", remove_examples(self._settings, self._ledger, self._is_forgotten, "forgotten"))
        if self._clock() >= self._due:
            for task, days in self._settings.retention_days.items():
                gone = _older_than(self._clock() - days * _DAY)
                self._say("retention", remove_examples(self._settings, self._ledger, gone, "retention", task=task))
            self._due = self._clock() + _RETENTION_SECONDS

    def _is_forgotten(self, exchange: str, _: float) -> bool:
        return self._tombstones.has(exchange)

    def _say(self, cause: str, removed: Removed) -> None:
        if removed.examples:
            _log.info("examples_deleted", cause=cause, runs=removed.runs, examples=removed.examples)


def remove_examples(settings: Settings, ledger: Ledger, gone: Gone, cause: str, task: str | None = None) -> Removed:
    """Take examples out of the data of all runs on this machine, or of one task's; note it with each run.

    Raises DataError where a file cannot be read or written.
    """
    runs = examples = 0
    for folder in sorted((settings.state / "runs").glob("run_*")):
        if task is not None and _task_of(ledger, folder.name) != task:
            continue
        count = _filter_lines(folder / DATA_FILE, gone)
        asked = _filter_asked(folder / ASKED_FILE, gone)
        if count or asked:
            ledger.forgotten.note_deletion(DataDeletion(folder.name, cause, max(count, asked), time.time()))
            runs, examples = runs + 1, examples + max(count, asked)
        # Also where nothing was found now: whoever took it out may have been killed before it could say so.
        _mark_report(folder, ledger.forgotten.deletions(folder.name))
    return Removed(runs, examples)


def _older_than(before: float) -> Gone:
    return lambda _, at: at < before


def _task_of(ledger: Ledger, run: str) -> str | None:
    found = ledger.runs.get(run)
    return None if found is None else found.task


def _filter_lines(path: Path, gone: Gone) -> int:
    """Rewrite a file of examples, one a line, without those that must go; returns how many these were."""
    if not path.is_file():
        return 0
    lines = _read(path).splitlines(keepends=True)
    kept = [line for line in lines if not _goes(_decoded(path, line), gone)]
    if len(kept) < len(lines):
        write_whole(path, kept)
    return len(lines) - len(kept)


def _filter_asked(path: Path, gone: Gone) -> int:
    """The same for what a run has asked about, which is one object."""
    if not path.is_file():
        return 0
    try:
        document: dict[str, Any] = msgspec.json.decode(_read(path))
        exchanges = document["exchanges"]
        kept = [one for one in exchanges if not _goes(msgspec.convert(one, _Line), gone)]
    except (msgspec.MsgspecError, KeyError, TypeError) as error:
        raise DataError(f"{path}: cannot be read ({error}); delete it") from error
    if len(kept) < len(exchanges):
        write_whole(path, [msgspec.json.encode(document | {"exchanges": kept}) + b"\n"])
    return len(exchanges) - len(kept)


def _goes(line: _Line, gone: Gone) -> bool:
    """Examples that are not from traffic have no exchange and stay."""
    return bool(line.exchange) and gone(line.exchange, line.at)


def _decoded(path: Path, line: bytes) -> _Line:
    try:
        return _line_decoder.decode(line)
    except msgspec.MsgspecError as error:
        raise DataError(f"{path}: holds a line that is no example ({error}); delete the file") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); make it readable, or delete it") from error


def _mark_report(folder: Path, deletions: list[DataDeletion]) -> None:
    """Let a report that has been written say what was deleted since."""
    page = folder / "report.html"
    if not deletions or not page.is_file():
        return
    text = _read(page).decode()
    begin, end = _MARKS
    before, _, rest = text.partition(begin)
    body = before if not rest else before + rest.partition(end)[2]
    told = "; ".join(f"{one.examples} on {_day(one.at)} ({one.cause})" for one in deletions)
    note = f'{begin}<p class="soft">Data deleted: examples of this run are no longer kept: {told}.</p>{end}'
    marked = body.replace("</main>", f"{note}</main>", 1)
    if marked != text:
        write_whole(page, [marked.encode()])


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).date().isoformat()
