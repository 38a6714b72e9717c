"""Asking the challengers: while a candidate is on trial, it answers what the champion was compared on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from core import wire
from core.errors import ApiError
from core.records import StudentAnswer
from core.settings import StudentSettings
from router.served import read_served
from router.upstream import student_upstream

_log = structlog.get_logger(__name__)

_CONNECTIONS: Final = 8
_LOOK_SECONDS: Final = 2.0


class Challengers:
    """The candidates that the student server holds, by task."""

    def __init__(self, student: StudentSettings) -> None:
        self._student = student_upstream(student)
        self._places = asyncio.Semaphore(_CONNECTIONS)  # so that a trial leaves the student free for the clients
        self._versions: dict[str, str] = {}

    def version(self, task: str) -> str | None:
        """The version that is on trial, as far as is known."""
        return self._versions.get(task)

    async def keep_fresh(self) -> None:
        """Look again and again, until cancelled. A student server that is down has nobody on trial."""
        while True:
            await self.refresh()
            await asyncio.sleep(_LOOK_SECONDS)

    async def refresh(self) -> None:
        """Look once. Never raises."""
        served = read_served(await self._student.probe()) or {}
        versions = {task: found.challenger for task, found in served.items() if found.challenger is not None}
        if versions != self._versions:
            _log.info("challengers_seen", versions=versions, before=self._versions)
        self._versions = versions

    async def ask(self, task: str, messages: Sequence[tuple[str, str]]) -> StudentAnswer | None:
        """What the challenger says; None where there is none, or where it failed: a trial must not hold us up."""
        if task not in self._versions:
            return None
        document = {
            "model": f"{task}@challenger",
            "messages": [{"role": role, "content": content} for role, content in messages],
        }
        try:
            async with self._places:
                response = await self._student.request(b"/v1/chat/completions", wire.encode_json(document))
            completion = wire.decode_completion(response.body) if response.status == 200 else None
            vendor = completion.tutelage if completion is not None else None
            return vendor.answer() if vendor is not None else None
        except (ApiError, ValueError):
            return None

    async def close(self) -> None:
        """Close the connections."""
        await self._student.close()
