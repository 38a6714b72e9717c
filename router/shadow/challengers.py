"""Asking the challengers: while a candidate is on trial, it answers what the champion was compared on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec
import structlog

from core import wire
from core.records import StudentAnswer
from core.settings import StudentSettings
from router.pool import Pool, PoolError

_log = structlog.get_logger(__name__)

_CONNECTIONS: Final = 8
_LOOK_SECONDS: Final = 2.0


class _Versions(msgspec.Struct):
    challenger: str | None = None


class _Model(msgspec.Struct):
    id: str
    tutelage: _Versions = msgspec.field(default_factory=_Versions)


class _Models(msgspec.Struct):
    data: list[_Model]


_models_decoder = msgspec.json.Decoder(_Models)


class Challengers:
    """The candidates that the student server holds, by task."""

    def __init__(self, student: StudentSettings) -> None:
        self._pool = Pool(student.base_url, student.timeouts, limit=_CONNECTIONS + 1)
        self._places = asyncio.Semaphore(_CONNECTIONS)  # waiting for the pool would count against its time-outs
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
        try:
            response = await self._pool.request("GET", "/v1/models")
            models = _models_decoder.decode(response.body).data if response.status == 200 else []
        except (PoolError, TimeoutError, msgspec.DecodeError):
            models = []
        found = {model.id: model.tutelage.challenger for model in models}
        versions = {task: version for task, version in found.items() if version is not None}
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
                response = await self._pool.request("POST", "/v1/chat/completions", wire.encode_json(document))
            completion = wire.decode_completion(response.body) if response.status == 200 else None
            vendor = completion.tutelage if completion is not None else None
            return vendor.answer() if vendor is not None else None
        except (PoolError, TimeoutError, ValueError):
            return None

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()
