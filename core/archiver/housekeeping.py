"""What the archiver does now and then: shorten streams, merge small files, remove leftovers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final

from core.archive import Archive
from core.archiver.retention import Retention
from core.journal import Journal, stream_parts
from core.journal.entries import order_of

_SECONDS: Final = {"lag": 1.0, "trim": 1.0, "publish": 5.0, "merge": 60.0, "expire": 600.0, "sweep": 600.0}


class Housekeeping:
    """Keeps the journal and the archive tidy, each chore at its own pace."""

    def __init__(
        self,
        journal: Journal,
        archive: Archive,
        log: Any,
        *,
        stream_bytes: int,
        file_rows: int,
        retention: Retention,
    ) -> None:
        self.trimmed = 0
        """Entries removed from streams."""
        self._journal = journal
        self._archive = archive
        self._log = log
        self._stream_bytes = stream_bytes
        self._file_rows = file_rows
        self._retention = retention
        self._due = {"merge": time.monotonic() + _SECONDS["merge"]}

    def hurry(self) -> None:
        """Make every chore due now."""
        self._due = {}

    def is_time(self, chore: str) -> bool:
        """Whether a chore is due; from now on, it is due again after its interval."""
        now = time.monotonic()
        if now < self._due.get(chore, 0.0):
            return False
        self._due[chore] = now + _SECONDS[chore]
        return True

    async def keep(self, committed: Mapping[str, str]) -> None:
        """Do what is due. `committed`: for each stream, the id of the entry up to which it is archived."""
        if self.is_time("trim"):
            for stream, identifier in committed.items():
                await self._trim(stream, identifier)
        if self.is_time("merge"):
            for stream in committed:
                merged = await asyncio.to_thread(self._archive.merge, *stream_parts(stream), self._file_rows)
                if merged:
                    self._log.info("files_merged", stream=stream, files=merged)
        if self.is_time("expire"):
            self.trimmed += await self._retention.expire(committed)
        if self.is_time("sweep"):
            removed = await asyncio.to_thread(self._archive.sweep)
            if removed:
                self._log.info("leftovers_removed", files=removed)

    async def _trim(self, stream: str, committed: str) -> None:
        """Shorten a stream that has grown too long: by halves of the time that is archived, never in front of that."""
        while await self._journal.memory(stream) > self._stream_bytes:
            first = await self._journal.first_id(stream)
            if first is None or order_of(first) >= order_of(committed):
                return
            oldest, newest = order_of(first)[0], order_of(committed)[0]
            middle = (oldest + newest + 1) // 2
            self.trimmed += await self._journal.trim(stream, committed if middle >= newest else f"{middle}-0")
