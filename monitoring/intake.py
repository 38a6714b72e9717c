"""Records, one after the other, into a task's state, each once. State and position move on together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from typing import Final

import structlog

from core.errors import StateError
from core.journal import Entry
from core.ledger import Ledger
from core.records import Comparison, Exchange, Feedback, Record, decode
from monitoring.feedback.answered import RecentAnswers
from monitoring.forgetting import Forgetting
from monitoring.position import Position
from monitoring.rules import Rules
from monitoring.state import TaskState

_SLICE_SECONDS: Final = 0.005
_LOOK: Final = 16  # records between two looks at the clock

_log = structlog.get_logger("tutelage.monitor")


class Intake:
    """Takes one task's records. `state` and `position` are what they have come to; a reader sets and stores both."""

    def __init__(self, task: str, rules: Rules, forgetting: Forgetting, ledger: Ledger) -> None:
        self.state = TaskState(task)
        self.position = Position()
        self.changed = False
        """Whether anything was taken; the reader clears it."""
        self.replayed = 0
        """Records left out since they had been read before."""
        self.unreadable = 0
        """Records that could not be decoded; passed over."""
        self.recent = RecentAnswers()
        """The exchanges of late, for feedback."""
        self._task = task
        self._rules = rules
        self._forgetting = forgetting
        self._ledger = ledger

    async def take(self, stream: str, entry: Entry) -> None:
        """Take an entry's records that were not read before, and move the position behind it."""
        offsets = self.position.offsets.setdefault(stream, {})
        have = offsets.get(entry.source, 0)
        if entry.end <= have:
            self.replayed += entry.count
        else:
            frames = entry.frames()
            new = [(end, payload) for end, payload in frames if end > have]
            self.replayed += len(frames) - len(new)
            await self._slices((offsets, entry.source, end, self._decoded(payload)) for end, payload in new)
        self.position.passed(stream, entry)
        self.changed = True

    async def take_archived(self, stream: str, source: str, offset: int, record: Record) -> None:
        """Take a record that the stream no longer holds, the next one of its source."""
        offsets = self.position.offsets.setdefault(stream, {})
        await self._slices([(offsets, source, offset, self._kept(record))])
        self.position.found(stream)
        self.changed = True

    async def _slices(self, records: Iterable[tuple[dict[str, int], str, int, Record | None]]) -> None:
        """Take records as (offsets of their stream, source, offset, record), and let others work in between."""
        waiting, more = iter(records), True
        while more:
            more = await self._slice(waiting)
            await asyncio.sleep(0)

    async def _slice(self, waiting: Iterator[tuple[dict[str, int], str, int, Record | None]]) -> bool:
        """Take records until the time is over; whether there may be more."""
        until = time.perf_counter() + _SLICE_SECONDS
        for count, (offsets, source, offset, record) in enumerate(waiting, 1):
            if record is not None:
                version = None if isinstance(record, Feedback) else self.state.unknown_version(record)
                if version is not None:
                    trust = await asyncio.to_thread(self._ledger.trust, self._task, version)
                    self.state.begin(version, self._rules, trust)
                self._observe(record)
            offsets[source] = offset  # together with the record: what follows may raise
            if count % _LOOK == 0 and time.perf_counter() > until:
                return True
        return False

    def _decoded(self, payload: bytes) -> Record | None:
        """A record as it may be counted; None where there is nothing to count."""
        try:
            record = decode(payload)
        except StateError as error:
            self.unreadable += 1
            _log.error("unreadable_record", task=self._task, error=str(error))
            return None
        return self._kept(record)

    def _kept(self, record: Record) -> Record | None:
        """What of a record may be counted: nothing, or its numbers alone, where it is forgotten."""
        if isinstance(record, Feedback):
            return None if self._forgetting.holds(record) else record
        return self._forgetting.emptied(record)

    def _observe(self, record: Record) -> None:
        if isinstance(record, Comparison):
            self.state.observe(record, self._rules)
        elif isinstance(record, Exchange):
            self.state.observe_exchange(record, self._rules)
            self.recent.add(record, self._rules)
        else:
            self.state.feedback.take(record)
