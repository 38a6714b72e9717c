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
from pathlib import Path

import structlog
from sqlalchemy.exc import SQLAlchemyError

from core.errors import StartupError, StateError
from core.ledger import Canary as Share
from core.ledger import Ledger
from router.canary import Canary
from router.known_trust import NO_TRUST, KnownTrust, Trusted, read_file, read_ledger, write_file
from router.served import Served, read_served
from router.tasks import Task
from router.upstream import Upstream

_log = structlog.get_logger(__name__)

_TEACHER_SECONDS = 15.0


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
        self._trust = NO_TRUST
        self._confidences: dict[str, dict[str, float]] = {}
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
        lowest, confidences = self._lowest[task], self._confidences.get(task)
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
        found = {
            task: Canary.of(task, share.version, share.share)
            for task, share in self._shares.items()
            if (served := self._served.get(task)) is not None and served.challenger == share.version
        }
        for task in {*found, *self._canaries}:
            now = found.get(task)
            if now != self._canaries.get(task):
                _log.info("canary_seen", task=task, version=now and now.version, share=now.share if now else 0.0)
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
            if self._trust is NO_TRUST:
                self._take_trust(await asyncio.to_thread(read_file, self._file))
            return
        self._ledger_up, self._shares = True, shares
        self._meet_canaries()
        if trust != self._trust:
            self._take_trust(trust)
            await asyncio.to_thread(write_file, self._file, trust)

    def _read_ledger(self) -> tuple[KnownTrust, dict[str, Share]]:
        if not self._migrated:
            self._ledger.migrate()
            self._migrated = True
        return read_ledger(self._ledger, self._teachers), self._ledger.canaries.all()

    def _take_trust(self, trust: KnownTrust) -> None:
        """What the ledger says goes as far as the settings want it to."""
        self._trust = trust
        self._confidences = {
            task: {version: max(lowest, found) for version, found in trust.confidences.get(task, {}).items()}
            for task, lowest in self._lowest.items()
            if task in self._targeted
        }


async def _reachable(teacher: Upstream) -> bool:
    """Whether a teacher answers at all. Any answer but a server error counts: some refuse to list models."""
    return any(response is not None and response.status < 500 for response in await teacher.probe())
