"""What the monitor must forget: examples in its state, in alarms that quote them, and reviews. Its numbers stay."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from core.forgetting import hollow
from core.ids import minted_at
from core.ledger import Ledger
from core.records import Comparison, Exchange, Record
from monitoring.snapshot import NAME, decode_state, encode_state
from monitoring.state import TaskState

_DAY: Final = 86_400.0
_TRIES: Final = 5
_RETENTION_SECONDS: Final = 3600.0


class Forgetting:
    """Keeps one task's state and alarms free of what must not be there. For one thread at a time."""

    def __init__(self, task: str, ledger: Ledger, retention_days: int | None) -> None:
        self._task = task
        self._ledger = ledger
        self._tombstones = ledger.forgotten.tombstones()
        self._days = retention_days
        self._due = 0.0

    def emptied(self, record: Exchange | Comparison) -> Exchange | Comparison:
        """The record; hollow where it is forgotten."""
        if not self._tombstones.hold(record):
            return record
        emptied = hollow(record)
        return emptied if isinstance(emptied, Exchange | Comparison) else record

    def holds(self, record: Record) -> bool:
        """Whether a record is forgotten, or about an exchange that is."""
        return self._tombstones.hold(record)

    def is_due(self, now: float) -> bool:
        """Whether `forget` has something to do; reads the ledger. `now`: seconds since the epoch."""
        return (self._tombstones.refresh() and bool(self._tombstones)) or (self._days is not None and now >= self._due)

    def forget(self, state: TaskState, now: float) -> int:
        """Take examples out of the state, of the alarms and of the review queue; returns how many went. Blocks."""
        self._due = now + _RETENTION_SECONDS
        before = float("-inf") if self._days is None else now - self._days * _DAY

        def gone(exchange: str) -> bool:
            return self._tombstones.has(exchange) or asked_at(exchange) < before

        count = drop_examples(state, gone) + self._ledger.alarms.drop_examples(gone, self._task)
        count += self._ledger.golden.drop_examples(gone, self._task)
        count += self._ledger.reviews.drop(gone, self._task)
        if count:
            self._ledger.purge()
        return count


def asked_at(exchange: str) -> float:
    """When an exchange was asked, by its id; infinitely late where the id does not say."""
    try:
        return minted_at(exchange)
    except ValueError:
        return float("inf")


def drop_examples(state: TaskState, gone: Callable[[str], bool]) -> int:
    """Take the examples of exchanges that must go out of a state; returns how many these were."""
    count = state.drift.forget(gone)
    for version in state.versions.values():
        kept = [example for example in version.examples if not gone(example.exchange)]
        count += len(version.examples) - len(kept)
        version.examples = kept
        waiting = [one for one in version.wrongness.waiting if not gone(one.exchange)]
        count += len(version.wrongness.waiting) - len(waiting)
        version.wrongness.waiting = waiting
    return count + state.feedback.forget(gone)


def forget_in_snapshot(ledger: Ledger, task: str, gone: Callable[[str], bool]) -> int:
    """The same in the stored state of a task, whoever reads it: a monitor at work begins again from what is stored."""
    for _ in range(_TRIES):
        found = ledger.snapshots.load(task, NAME)
        if found is None:
            return 0
        state = decode_state(found.state, task)
        count = drop_examples(state, gone)
        if not count:
            return 0
        stored = encode_state(state)
        if ledger.snapshots.save(
            task, NAME, after=found.revision, position=found.position, state=stored, at=time.time()
        ):
            return count
    return 0  # a monitor is at work and stores faster than we do: it has read the tombstones and does it itself
