"""What the gateway knows of the world, refreshed beside the request path: champions, health, trust.

A request reads it without waiting. Trust comes from the ledger and is also kept on disk, so that a gateway that
restarts while the ledger is away goes on with what was true; the champion comes from the student server itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec
import structlog
from sqlalchemy.exc import SQLAlchemyError

from core.errors import StartupError, StateError
from core.ledger import Ledger
from router.served import read_served
from router.upstream import Upstream

_log = structlog.get_logger(__name__)

_TEACHER_SECONDS = 15.0


Trusted = dict[str, frozenset[str]]
"""For each version, the labels that it may answer."""

_trust_decoder = msgspec.json.Decoder(dict[str, dict[str, list[str]]])


class Snapshot:
    """Champions, health and trust of every task."""

    def __init__(self, teachers: Mapping[str, Upstream], ledger: Ledger, student: Upstream, file: Path) -> None:
        """`teachers` holds each task's teacher; `file` keeps the last known trust."""
        self._teachers = dict(teachers)
        self._ledger = ledger
        self._student = student
        self._file = file
        self._ledger_up = True
        self._migrated = False
        self._teacher_up: dict[str, bool] = {}
        self._teachers_seen = -_TEACHER_SECONDS
        self.student_up = False
        self._champions: dict[str, str | None] = {}
        self._trusted: dict[str, Trusted] = {}

    def champion(self, task: str) -> str | None:
        """The version that serves the task, as far as is known."""
        return self._champions.get(task)

    def trusted(self, task: str) -> Trusted:
        """For each version of the task's student, the labels that it may answer. Empty: nothing is trusted."""
        return self._trusted.get(task, {})

    def trusted_classes(self, task: str) -> int:
        """How many classes the champion may answer."""
        champion = self.champion(task)
        return 0 if champion is None else len(self.trusted(task).get(champion, ()))

    def answering(self, task: str) -> str | None:
        """Who can answer the task now: `student`, `teacher`, or None."""
        champion = self.champion(task)
        if self.student_up and champion is not None and self.trusted(task).get(champion):
            return "student"
        return "teacher" if self._teacher_up.get(task) else None

    async def refresh(self) -> None:
        """Look once. Never raises: what cannot be read stays as it was, or counts as down."""
        await asyncio.gather(self._refresh_student(), self._refresh_trust(), self._refresh_teachers())

    async def keep_fresh(self, seconds: float) -> None:
        """Look again and again, until cancelled."""
        while True:
            await self.refresh()
            await asyncio.sleep(seconds)

    async def _refresh_student(self) -> None:
        was_up = self.student_up
        served = read_served(await self._student.probe())
        self.student_up = served is not None
        if served is not None:
            self._note_champions({task: versions.champion for task, versions in served.items()})
        elif was_up:
            _log.warning("student_down", effect="the teacher answers everything")

    def _note_champions(self, champions: dict[str, str | None]) -> None:
        for task, version in champions.items():
            if version != self._champions.get(task):
                _log.info("champion_seen", task=task, version=version, before=self._champions.get(task))
        self._champions = champions

    async def _refresh_teachers(self) -> None:
        """Ask rarely while all are up: a teacher may be far away, and may count requests."""
        now = time.monotonic()
        all_up = all(self._teacher_up.get(task) for task in self._teachers)
        if all_up and now - self._teachers_seen < _TEACHER_SECONDS:
            return
        self._teachers_seen = now
        found = await asyncio.gather(*(_reachable(teacher) for teacher in self._teachers.values()))
        for task, up in zip(self._teachers, found, strict=True):
            if up != self._teacher_up.get(task):
                _log.info("teacher_up" if up else "teacher_down", task=task)
            self._teacher_up[task] = up

    async def _refresh_trust(self) -> None:
        try:
            trusted = await asyncio.to_thread(self._read_trust)
        except (SQLAlchemyError, StartupError, StateError) as error:
            if self._ledger_up:
                _log.warning("ledger_away", error=str(error), effect="trust stays as it was")
            self._ledger_up = False
            if not self._trusted:
                self._trusted = await asyncio.to_thread(self._read_file)
            return
        self._ledger_up = True
        if trusted != self._trusted:
            self._trusted = trusted
            await asyncio.to_thread(self._write_file, trusted)

    def _read_trust(self) -> dict[str, Trusted]:
        if not self._migrated:
            self._ledger.migrate()
            self._migrated = True
        return {task: self._ledger.trusted(task) for task in self._teachers}

    def _read_file(self) -> dict[str, Trusted]:
        try:
            stored = _trust_decoder.decode(self._file.read_bytes())
        except (OSError, msgspec.DecodeError):
            return {}
        return {
            task: {version: frozenset(labels) for version, labels in versions.items()}
            for task, versions in stored.items()
        }

    def _write_file(self, trusted: dict[str, Trusted]) -> None:
        stored = {task: {v: sorted(labels) for v, labels in versions.items()} for task, versions in trusted.items()}
        self._file.parent.mkdir(parents=True, exist_ok=True)
        draft = self._file.with_suffix(".draft")
        draft.write_bytes(msgspec.json.encode(stored))
        draft.replace(self._file)


async def _reachable(teacher: Upstream) -> bool:
    """Whether a teacher answers at all. Any answer but a server error counts: some refuse to list models."""
    return any(response is not None and response.status < 500 for response in await teacher.probe())
