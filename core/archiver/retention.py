"""Letting go of what is older than `privacy.retention_days`: days of the archive, and what the journal still holds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from core.archive.removal import Removal
from core.journal import Journal, stream_parts
from core.journal.entries import order_of

_DAY: Final = 86_400.0


class Retention:
    """Keeps the retention of all tasks that have one."""

    def __init__(
        self,
        journal: Journal,
        removal: Removal,
        days: Mapping[str, int],
        log: Any,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`days`: by task, for how many whole days records are kept. `clock`: seconds since the epoch."""
        self._journal = journal
        self._removal = removal
        self._days = days
        self._log = log
        self._clock = clock

    async def expire(self, committed: Mapping[str, str]) -> int:
        """Take what is too old off the archive and off the streams; returns the entries that went from streams.

        `committed`: for each stream, the id of the entry up to which it is archived; nothing behind it is trimmed.
        Raises what the ledger, the archive and the journal raise.
        """
        for task, days in self._days.items():
            files = await asyncio.to_thread(self._removal.expire, task, days, self._clock())
            if files:
                self._log.info("days_expired", task=task, files=files)
        trimmed = 0
        for stream, identifier in committed.items():
            limit = self._days.get(stream_parts(stream)[0])
            if limit is not None:
                first = f"{int((self._clock() - limit * _DAY) * 1000)}-0"
                trimmed += await self._journal.trim(stream, min(first, identifier, key=order_of))
        return trimmed
