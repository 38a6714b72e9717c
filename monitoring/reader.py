"""The reader: one a task, through `exchanges` and `comparisons` in order, with its state stored beside its place.

Every record counts once, whoever dies when:
- State and position go into the ledger in one statement, so what was read after the last snapshot is read again.
- The position holds, for each source, the offset up to which its log was read. What Redis forgot and was shipped again
  has other entries in the streams, and the same offsets.
- A snapshot replaces only the one that its writer knows. Of two readers that believe to hold the lease, one finds out,
  drops its state, and begins from the other's.
- The shadow worker may compare an exchange twice; the state remembers the exchanges that it has seen compared.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec
import structlog
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from core.errors import StateError
from core.journal import START, Entry, Journal, is_cancelled, stream_name
from core.lease import Leases
from core.ledger import Ledger, Severity
from core.records import Comparison, Exchange, Kind, decode
from core.settings import TaskSettings
from monitoring.alarms import Reviewer
from monitoring.drift import score_window
from monitoring.drift_windows import Score
from monitoring.forgetting import Forgetting
from monitoring.rules import Rules, rules_of
from monitoring.signals import is_due
from monitoring.snapshot import NAME, decode_state, encode_state
from monitoring.state import TaskState

_KINDS: Final = (Kind.EXCHANGE, Kind.COMPARISON)
_READ_ENTRIES: Final = 16
_BLOCK_MS: Final = 250
_REVIEW_SECONDS: Final = 0.2
_FIRST_DELAY: Final = 0.1
_LONGEST_DELAY: Final = 5.0

_log = structlog.get_logger("tutelage.monitor")


class Position(msgspec.Struct):
    """How far a task's streams have been read."""

    incarnation: str = ""
    """Redis' word for itself: ids of entries mean nothing to another one."""
    entries: dict[str, str] = {}
    """By stream, the id of the last entry; `offsets`: by stream and source, the offset up to which its log was read."""
    offsets: dict[str, dict[str, int]] = {}


class TaskReader:
    """Reads one task. `run` is the one task; the attributes are for metrics."""

    def __init__(
        self,
        task: str,
        settings: TaskSettings,
        journal: Journal,
        leases: Leases,
        ledger: Ledger,
        *,
        snapshot_seconds: float,
        on_snapshot: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_snapshot` is called each time the state has been stored, and must not block for long."""
        self.task = task
        self.rules: Rules = rules_of(settings)
        self.state = TaskState(task)
        self.leading = False
        """Whether this process holds the task's lease."""
        self.replayed = 0
        """Records left out since they had been read before."""
        self.unreadable = 0
        """Records that could not be decoded; passed over."""
        self.conflicts = 0
        """Times when another monitor had stored a snapshot meanwhile."""
        self.stored_at = 0.0
        self._drift_alpha = settings.watch.drift_false_alarms
        self._journal = journal
        self._leases = leases
        self._ledger = ledger
        self._reviewer = Reviewer(task, ledger, self.rules, settings.watch)
        self._forgetting = Forgetting(task, ledger, settings.privacy.retention_days)
        self._snapshot_seconds = snapshot_seconds
        self._on_snapshot = on_snapshot
        self._position = Position()
        self._revision = -1
        self._stored = 0.0
        self._reviewed = 0.0
        self._changed = False
        self._drifting: asyncio.Task[list[Score]] | None = None
        self._drifting_of = ""
        self._up = True

    async def run(self) -> None:
        """Read until cancelled. Redis or the ledger being away does not end it."""
        delay = _FIRST_DELAY
        while not is_cancelled():
            try:
                await self._round()
            except (RedisError, SQLAlchemyError, StateError) as error:
                if self._up:
                    _log.warning("watching_stopped", task=self.task, error=str(error) or type(error).__name__)
                self._up = False
                await asyncio.sleep(delay)
                delay = min(delay * 2, _LONGEST_DELAY)
                continue
            if not self._up:
                _log.info("watching_again", task=self.task)
            self._up, delay = True, _FIRST_DELAY

    async def stop(self) -> None:
        """After `run` has ended: store what was read, and give the lease to the next one."""
        if self._drifting is not None:
            await asyncio.wait([self._drifting])
            self._take_drift()
        try:
            if self.leading:
                await self._store()
            await self._leases.give_back(self._lease)
        except (RedisError, SQLAlchemyError) as error:
            _log.warning("snapshot_not_stored", task=self.task, error=str(error), effect="the rest is read again")

    @property
    def open_alarms(self) -> dict[str, Severity]:
        """Severity of the open alarms, by cause, as of the last review."""
        return self._reviewer.open

    @property
    def _lease(self) -> str:
        return f"{NAME}:{self.task}"

    async def _round(self) -> None:
        """Hold the lease, read, review, score a window, store: each where it is time."""
        if not await self._leases.take(self._lease):
            self.leading, self._revision = False, -1
            await asyncio.sleep(1.0)
            return
        if not self.leading or self._revision < 0:
            await self._load()
            self.leading = True
        await self._meet_redis()
        await self._read()
        self._watch_drift()
        now = time.monotonic()
        tripped = is_due(self.state, self.rules) and now - self._reviewed >= _REVIEW_SECONDS
        if tripped or now - self._stored >= self._snapshot_seconds:
            await self._review()
            await self._forget()
            await self._store()

    async def _load(self) -> None:
        """Begin from the last snapshot. Raises StateError where it was written by another Tutelage."""
        found = await asyncio.to_thread(self._ledger.snapshots.load, self.task, NAME)
        self._position, self.state = Position(), TaskState(self.task)
        self._revision = found.revision if found is not None else 0
        if found is not None:
            self.state = decode_state(found.state, self.task)
            self._position = msgspec.convert(found.position, Position)
        self._stored, self._changed = time.monotonic(), False
        _log.info("watching", task=self.task, revision=self._revision, champion=self.state.champion)

    async def _meet_redis(self) -> None:
        """Another Redis, or one that lost its data, is read from the start; offsets tell what was read before."""
        incarnation = await self._journal.incarnation()
        if incarnation != self._position.incarnation:
            self._position.incarnation, self._position.entries = incarnation, {}

    async def _read(self) -> None:
        after = {
            stream: self._position.entries.get(stream, START)
            for stream in (stream_name(self.task, kind) for kind in _KINDS)
        }
        found = await self._journal.read_many(after, _READ_ENTRIES, _BLOCK_MS)
        for stream, entries in found.items():
            for entry in entries:
                await self._take(stream, entry)

    async def _take(self, stream: str, entry: Entry) -> None:
        """Take an entry's records that were not read before, and move the position behind it."""
        offsets = self._position.offsets.setdefault(stream, {})
        have = offsets.get(entry.source, 0)
        if entry.end <= have:
            self.replayed += entry.count
        else:
            for end, payload in entry.frames():
                if end <= have:
                    self.replayed += 1
                    continue
                await self._observe(payload)
                offsets[entry.source] = end  # together with the record: what follows may raise
        self._position.entries[stream] = entry.id
        self._changed = True
        await asyncio.sleep(0)  # so that a scrape is answered while much is read

    async def _observe(self, payload: bytes) -> None:
        try:
            record = decode(payload)
        except StateError as error:
            self.unreadable += 1
            _log.error("unreadable_record", task=self.task, error=str(error))
            return
        if not isinstance(record, Exchange | Comparison):
            return
        record = self._forgetting.emptied(record)
        version = self.state.unknown_version(record)
        if version is not None:
            trust = await asyncio.to_thread(self._ledger.trust, self.task, version)
            self.state.begin(version, self.rules, trust)
        if isinstance(record, Comparison):
            self.state.observe(record, self.rules)
        else:
            self.state.observe_exchange(record, self.rules)

    async def _review(self) -> None:
        self._reviewed = time.monotonic()
        await asyncio.to_thread(self._reviewer.review, self.state, time.time())

    async def _forget(self) -> None:
        """After a review, whose alarms may quote what must go."""
        now = time.time()
        if await asyncio.to_thread(self._forgetting.is_due, now):
            self._changed |= bool(await asyncio.to_thread(self._forgetting.forget, self.state, now))

    async def _store(self) -> None:
        """Store state and position together; where somebody else has, begin from theirs."""
        self._stored = time.monotonic()
        if self._changed:
            state = encode_state(self.state)
            position: dict[str, Any] = msgspec.to_builtins(self._position)
            stored = await asyncio.to_thread(
                lambda: self._ledger.snapshots.save(
                    self.task, NAME, after=self._revision, position=position, state=state, at=time.time()
                )
            )
            if not stored:
                self.conflicts += 1
                self._revision = -1
                _log.warning("another_monitor_reads", task=self.task, effect="its snapshot is taken over")
                return
            self._revision += 1
            self._changed = False
            self.stored_at = time.time()
        self._on_snapshot()

    def _watch_drift(self) -> None:
        """Have a full window scored in a thread, one at a time, and take what came of the last."""
        self._take_drift()
        drift = self.state.drift
        if self._drifting is None and drift.full:
            window, drift.full, self._drifting_of = drift.full, [], drift.version
            work = asyncio.to_thread(score_window, drift.reference, window, self._drift_alpha, self._revision)
            self._drifting = asyncio.create_task(work, name=f"drift-{self.task}")

    def _take_drift(self) -> None:
        if self._drifting is None or not self._drifting.done():
            return
        task, self._drifting = self._drifting, None
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            _log.error("drift_not_scored", task=self.task, error=repr(error))
        elif self._drifting_of == self.state.drift.version:
            self.state.drift.note(task.result(), self._drift_alpha)
        self._changed = True
