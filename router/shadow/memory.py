"""Which exchanges have their comparison already, and what comparisons cost today: learnt from the journal."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Final

from core.errors import StateError
from core.journal import Journal, stream_name
from core.records import Comparison, Kind, decode

_CAPACITY: Final = 200_000
_LOOK_BACK_SECONDS: Final = 6 * 3600.0
_READ_ENTRIES: Final = 64


class Memory:
    """Remembers one task's comparisons: our own at once, other workers' as soon as they are in the journal.

    So an exchange that comes again (Redis was emptied and its log shipped anew, or a worker was killed before it could
    acknowledge) is not asked about again. It is bounded; what it has forgotten may be compared twice.
    """

    def __init__(self, task: str, journal: Journal, capacity: int = _CAPACITY) -> None:
        self._stream = stream_name(task, Kind.COMPARISON)
        self._journal = journal
        self._capacity = capacity
        self._known: dict[str, None] = {}
        self._spent: dict[str, float] = {}
        midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
        self._read_id = f"{int(min(midnight, time.time() - _LOOK_BACK_SECONDS) * 1000)}-0"

    def __contains__(self, exchange: str) -> bool:
        return exchange in self._known

    @property
    def spent_today(self) -> float:
        """Dollars that comparisons of today (UTC) cost, as far as is known."""
        return self._spent.get(_day(time.time()), 0.0)

    def add(self, comparison: Comparison) -> None:
        """Remember a comparison; the second one of an exchange counts nothing."""
        if comparison.exchange in self._known:
            return
        self._known[comparison.exchange] = None
        if len(self._known) > self._capacity:
            del self._known[next(iter(self._known))]
        day = _day(comparison.compared_at)
        if comparison.cost_usd:
            self._spent = {day: self._spent.get(day, 0.0) + comparison.cost_usd} | {
                other: spent for other, spent in self._spent.items() if other > day
            }

    async def follow(self) -> None:
        """Take in what is new in the journal. Raises redis.RedisError while Redis is away."""
        while entries := await self._journal.read(self._stream, self._read_id, _READ_ENTRIES):
            for entry in entries:
                self._take(entry.frames())
                self._read_id = entry.id

    def _take(self, frames: list[tuple[int, bytes]]) -> None:
        for _, payload in frames:
            try:
                record = decode(payload)
            except StateError:
                continue  # damaged or of a newer worker: forgetting it costs a call at most
            if isinstance(record, Comparison):
                self.add(record)


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).date().isoformat()
