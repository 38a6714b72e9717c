"""What the gateway knows of the world, refreshed beside the request path: champions, health, trust, canaries.

A request reads it without waiting. Trust comes from the ledger and is also kept on disk, so that a gateway that
restarts while the ledger is away goes on with what was true; the champion comes from the student server itself. There
is a canary only where both agree: nobody could end it while the ledger is away, and no version answers that is not
loaded.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from math import inf
from pathlib import Path
from typing import NamedTuple

import msgspec
import structlog
from sqlalchemy.exc import SQLAlchemyError

from core.errors import StartupError, StateError
from core.ledger import Canary as Share
from core.ledger import Ledger
from router.canary import Canary
from router.served import Served, read_served
from router.tasks import Task
from router.upstream import Upstream

_log = structlog.get_logger(__name__)

_TEACHER_SECONDS = 15.0


Trusted = dict[str, frozenset[str]]
"""For each version, the labels that it may answer."""


class _Trust(NamedTuple):
    """What the ledger says of the students, by task."""

    trusted: dict[str, Trusted]
    confidences: dict[str, dict[str, float]]
    """For each version, the lowest confidence at which it may answer; infinite where none is enough."""


_NO_TRUST = _Trust({}, {})


class _Kept(msgspec.Struct):
    """The same on disk; JSON knows no infinity."""

    trusted: dict[str, dict[str, list[str]]]
    confidences: dict[str, dict[str, float | None]]


_kept_decoder = msgspec.json.Decoder(_Kept)


class Snapshot:
    """Champions, health, trust and canary of every task."""

    def __init__(self, tasks: Mapping[str, Task], ledger: Ledger, student: Upstream, file: Path) -> None:
        """`file` keeps the last known trust."""
        self._teachers = {name: task.teacher for name, task in tasks.items()}
        self._lowest = {name: task.settings.trust.min_confidence for name, task in tasks.items()}
        self._targeted = {name for name, task in tasks.items() if task.settings.trust.target_agreement is not None}
        self._ledger = ledger
        self._student = student
        self._file = file
        self._ledger_up = True
        self._migrated = False
        self._teacher_up: dict[str, bool] = {}
        self._teachers_seen = -_TEACHER_SECONDS
        self.student_up = False
        self._served: dict[str, Served] = {}
        self._trust = _NO_TRUST
        self._shares: dict[str, Share] = {}
        self._canaries: dict[str, Canary] = {}

    def champion(self, task: str) -> str | None:
        """The version that serves the task, as far as is known."""
        served = self._served.get(task)
        return None if served is None else served.champion

    def trusted(self, task: str) -> Trusted:
        """For each version of the task's student, the labels that it may answer. Empty: nothing is trusted."""
        return self._trust.trusted.get(task, {})

    def min_confidence(self, task: str, version: str) -> float:
        """The calibrated confidence below which the teacher answers in the version's stead. Infinite: always."""
        confidences = self._trust.confidences.get(task)
        lowest = self._lowest[task]
        return lowest if confidences is None else confidences.get(version, lowest)

    def canary(self, task: str) -> Canary | None:
        """The challenger that answers a share of the task's requests, where there is one."""
        return self._canaries.get(task)

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
            self._note_served(served)
        elif was_up:
            _log.warning("student_down", effect="the teacher answers everything")

    def _note_served(self, served: dict[str, Served]) -> None:
        for task, versions in served.items():
            before = self.champion(task)
            if versions.champion != before:
                _log.info("champion_seen", task=task, version=versions.champion, before=before)
        self._served = served
        self._meet_canaries()

    def _meet_canaries(self) -> None:
        """Bring the canaries in step with the shares in the ledger and the challengers that are loaded."""
        found: dict[str, Canary] = {}
        for task, share in self._shares.items():
            served, known = self._served.get(task), self._canaries.get(task)
            if served is not None and served.challenger == share.version:
                same = known is not None and (known.version, known.share) == (share.version, share.share)
                found[task] = known if known is not None and same else Canary(task, share.version, share.share)
        for task in {*found, *self._canaries}:
            before, now = self._canaries.get(task), found.get(task)
            if before is not now:
                _log.info("canary", task=task, version=now and now.version, share=now and now.share)
        self._canaries = found

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
            trust, shares = await asyncio.to_thread(self._read_ledger)
        except (SQLAlchemyError, StartupError, StateError) as error:
            if self._ledger_up:
                _log.warning("ledger_away", error=str(error), effect="trust stays as it was; no canary")
            self._ledger_up, self._shares = False, {}
            self._meet_canaries()
            if self._trust is _NO_TRUST:
                self._trust = await asyncio.to_thread(self._read_file)
            return
        self._ledger_up, self._shares = True, shares
        self._meet_canaries()
        if trust != self._trust:
            self._trust = trust
            await asyncio.to_thread(self._write_file, trust)

    def _read_ledger(self) -> tuple[_Trust, dict[str, Share]]:
        if not self._migrated:
            self._ledger.migrate()
            self._migrated = True
        # Thresholds are written before trust: read after it, they are never older.
        trusted = {task: self._ledger.trusted(task) for task in self._teachers}
        confidences = {
            task: {v: max(found, self._lowest[task]) for v, found in self._ledger.thresholds.confidences(task).items()}
            for task in self._targeted
        }
        return _Trust(trusted, confidences), self._ledger.canaries.all()

    def _read_file(self) -> _Trust:
        try:
            kept = _kept_decoder.decode(self._file.read_bytes())
        except (OSError, msgspec.DecodeError):
            return _NO_TRUST
        return _Trust(
            {task: {v: frozenset(labels) for v, labels in found.items()} for task, found in kept.trusted.items()},
            {
                task: {v: inf if one is None else max(one, self._lowest[task]) for v, one in found.items()}
                for task, found in kept.confidences.items()
                if task in self._targeted
            },
        )

    def _write_file(self, trust: _Trust) -> None:
        kept = _Kept(
            {task: {v: sorted(labels) for v, labels in found.items()} for task, found in trust.trusted.items()},
            {task: {v: None if one == inf else one for v, one in found.items()} for task, found in trust[1].items()},
        )
        self._file.parent.mkdir(parents=True, exist_ok=True)
        draft = self._file.with_suffix(".draft")
        draft.write_bytes(msgspec.json.encode(kept))
        draft.replace(self._file)


async def _reachable(teacher: Upstream) -> bool:
    """Whether a teacher answers at all. Any answer but a server error counts: some refuse to list models."""
    return any(response is not None and response.status < 500 for response in await teacher.probe())
