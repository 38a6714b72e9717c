"""Exchanges that were drawn and never compared: found in the archive, now and then, and compared after all.

The stream says what is to be compared; but what it lost before a worker was done with it (Redis was emptied and the log
was deleted already, or it was trimmed while all workers were away) stands in the archive alone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

import structlog
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from core.errors import StateError
from core.journal import is_cancelled
from core.lease import Leases
from core.ledger import Ledger
from core.records import Exchange
from router.shadow.comparer import Comparer
from router.shadow.metrics import ShadowMetrics

_EVERY_SECONDS: Final = 3600.0
_FIRST_SECONDS: Final = 600.0
"""After the start, when the comparer's memory has followed the journal."""
_YOUNG_SECONDS: Final = 1800.0
"""An exchange so young may be under way, or its comparison may wait for the archive."""
_LOOK_BACK_SECONDS: Final = 6 * 3600.0
_MOST: Final = 10_000
_AT_ONCE: Final = 200

_log = structlog.get_logger(__name__)


class Sweep:
    """Looks after one task's exchanges. For one event loop; `leases` must last for some questions to the teacher."""

    def __init__(
        self,
        task: str,
        archive_url: str,
        ledger: Ledger,
        leases: Leases,
        comparer: Comparer,
        metrics: ShadowMetrics,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._task = task
        self._archive_url = archive_url
        self._ledger = ledger
        self._leases = leases
        self._comparer = comparer
        self._metrics = metrics
        self._clock = clock

    async def run(self) -> None:
        """Sweep every hour until cancelled. A store being away puts it off until the next time."""
        pause = _FIRST_SECONDS
        while not is_cancelled():
            await asyncio.sleep(pause)
            pause = _EVERY_SECONDS
            try:
                await self.sweep()
            except (RedisError, SQLAlchemyError, OSError, StateError) as error:
                _log.warning("not_swept", task=self._task, error=str(error) or type(error).__name__)

    async def sweep(self) -> int:
        """Have compared what was not, if no other worker is at it; returns how many exchanges that were.

        Raises redis.RedisError, sqlalchemy.exc.SQLAlchemyError or StateError where a store is away.
        """
        lease = f"sweep:{self._task}"
        if not await self._leases.take(lease):
            return 0
        try:
            missing = [each for each in await asyncio.to_thread(self._find) if each.id not in self._comparer.memory]
            for start in range(0, len(missing), _AT_ONCE):
                await self._comparer.compare(missing[start : start + _AT_ONCE])
                if not await self._leases.take(lease):
                    break
        finally:
            await self._leases.give_back(lease)
        if missing:
            self._metrics.swept.labels(self._task).inc(len(missing))
            _log.warning("compared_late", task=self._task, exchanges=len(missing), hint="the journal had lost them")
        return len(missing)

    def _find(self) -> Sequence[Exchange]:
        from core.archive import Archive  # with pyarrow and DuckDB, which a worker needs only here
        from core.archive.uncompared import uncompared

        end = self._clock() - _YOUNG_SECONDS
        archive = Archive(self._archive_url, self._ledger)
        return uncompared(archive, self._task, end - _LOOK_BACK_SECONDS, end, _MOST)
