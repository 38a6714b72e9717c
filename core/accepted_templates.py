"""The templates of all tasks, kept fresh beside what uses them: those of the settings and those that were accepted.

A copy on disk carries the accepted ones over a restart while the ledger is away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
import structlog
from sqlalchemy.exc import SQLAlchemyError

from core.errors import StartupError, StateError
from core.ledger import AcceptedTemplate, Ledger, templates_in_force
from core.settings import TaskSettings
from core.templates import Template, decode_template, encode_template
from core.whole_file import write_whole

_log = structlog.get_logger(__name__)

_FORMAT: Final = 1


class _Row(msgspec.Struct, forbid_unknown_fields=True):
    task: str
    template: str
    actor: str
    accepted_at: float
    source: str
    dropped_at: float | None


class _Stored(msgspec.Struct, forbid_unknown_fields=True):
    format: int
    accepted: list[_Row]


_decoder: Final = msgspec.json.Decoder(_Stored)


class TaskTemplates:
    """The templates of the tasks of one settings file. `refresh` blocks; the others read memory. Thread-safe."""

    def __init__(self, tasks: Mapping[str, TaskSettings], ledger: Ledger, file: Path) -> None:
        """`file` keeps the last known accepted templates. Nothing is read yet."""
        self._configured = {name: task.compiled_templates() for name, task in tasks.items()}
        self._ledger = ledger
        self._file = file
        self._accepted: list[AcceptedTemplate] | None = None
        self._migrated = False
        self._away = False

    def of(self, task: str) -> tuple[Template, ...]:
        """The templates by which a task's requests are read, in the order in which they are tried."""
        return templates_in_force(self._configured[task], self._accepted or (), task)

    def by_version(self, task: str) -> dict[str, Template]:
        """Every template by which a request may once have been read, dropped ones included."""
        once = [accepted.template for accepted in self._accepted or () if accepted.task == task]
        return {template.version: template for template in (*once, *self._configured[task])}

    async def keep_fresh(self, seconds: float) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.to_thread(self.refresh)
            await asyncio.sleep(seconds)

    def refresh(self) -> bool:
        """Look into the ledger once; whether anything has changed. Never raises: while it is away all stays as it was.

        The first time that it is away, what the copy on disk says counts.
        """
        try:
            if not self._migrated:
                self._ledger.migrate()
                self._migrated = True
            found = self._ledger.templates.all()
        except (SQLAlchemyError, StartupError, StateError) as error:
            if not self._away:
                _log.warning("templates_unreadable", error=str(error), effect="the last known templates go on")
            self._away = True
            if self._accepted is not None:
                return False
            self._accepted = read_accepted(self._file)
            return bool(self._accepted)
        self._away = False
        if found == self._accepted:
            return False
        self._keep(found)
        changed, self._accepted = found != (self._accepted or []), found
        return changed

    def _keep(self, found: list[AcceptedTemplate]) -> None:
        try:
            if found or self._file.exists():
                write_accepted(self._file, found)
        except OSError as error:
            _log.warning("templates_not_kept", error=str(error), effect="a restart without the ledger knows older ones")


def read_accepted(file: Path) -> list[AcceptedTemplate]:
    """What `write_accepted` kept; nothing where the file is not there, or cannot be read or understood."""
    try:
        stored = _decoder.decode(file.read_bytes())
        rows = stored.accepted if stored.format == _FORMAT else []
        return [
            AcceptedTemplate(
                row.task, decode_template(row.template), row.actor, row.accepted_at, row.source, row.dropped_at
            )
            for row in rows
        ]
    except (OSError, ValueError):  # msgspec's errors and those of a damaged template are ValueErrors
        return []


def write_accepted(file: Path, accepted: list[AcceptedTemplate]) -> None:
    """Keep accepted templates, readable by their owner alone; several processes may do it at once. Raises OSError."""
    rows = [
        _Row(one.task, encode_template(one.template), one.actor, one.accepted_at, one.source, one.dropped_at)
        for one in accepted
    ]
    write_whole(file, msgspec.json.encode(_Stored(_FORMAT, rows)))
