"""The reader: one a task, through its streams in order, with its state stored beside its place.

Every record counts once, whoever dies when:
- State and position go into the ledger in one statement, so what was read after the last snapshot is read again.
- The position holds, for each source, the offset up to which its log was read. What Redis forgot and was shipped again
  has other entries in the streams, and the same offsets.
- What was trimmed from a stream, or lost with Redis, before it was read is read in the archive (`history`).
- A snapshot replaces only the one that its writer knows. Of two readers that believe to hold the lease, one finds out,
  drops its state, and begins from the other's.
- The shadow worker may compare an exchange twice; the state remembers the exchanges that it has seen compared.
- Feedback waits in the state until its exchange is found (`monitoring.feedback`); where much waits, no more is read.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
import structlog
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from core.backoff import Backoff
from core.errors import StateError
from core.journal import Journal, is_cancelled, stream_name
from core.lease import Leases
from core.ledger import Ledger, Severity
from core.prices import price_of
from core.records import Kind
from core.settings import TaskSettings
from monitoring.alarms import Reviewer
from monitoring.drift.scoring import DriftScoring
from monitoring.feedback.join import FeedbackJoin
from monitoring.feedback.lookup import FeedbackArchive
from monitoring.forgetting import Forgetting
from monitoring.history import History
from monitoring.intake import Intake
from monitoring.position import Position
from monitoring.review_queue import ReviewQueue
from monitoring.rules import Rules, rules_of
from monitoring.signals import is_due
from monitoring.snapshot import NAME, decode_state, encode_state
from monitoring.state import TaskState
from monitoring.turns import Turns

_KINDS: Final = (Kind.EXCHANGE, Kind.COMPARISON, Kind.FEEDBACK)
_READ_ENTRIES: Final = 16
_BLOCK_MS: Final = 250
_REVIEW_SECONDS: Final = 0.2
_LATEST: Final = 2.0  # intervals between snapshots, after which a reader waits for its turn instead of reading on

_log = structlog.get_logger("tutelage.monitor")


async def _ignore(_: TaskReader) -> None:
    """Nobody wants to know."""


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
        on_snapshot: Callable[[TaskReader], Awaitable[None]] = _ignore,
        archive_url: str | None = None,
        turns: Turns | None = None,
    ) -> None:
        """`on_snapshot` is awaited each time the state has been stored; the state rests meanwhile.

        `archive_url`: where what a stream no longer holds is read, and what late feedback is about.
        `turns` are shared by the readers of a process.
        """
        self.task = task
        self.rules: Rules = rules_of(settings)
        self.leading = False
        """Whether this process holds the task's lease."""
        self.conflicts = 0
        """Times when another monitor had stored a snapshot meanwhile."""
        self.stored_at = 0.0
        self.reports = {"written": 0, "failed": 0}
        """Reports that this process has written by itself, or failed to, counted by who writes them."""
        self.reviews = ReviewQueue(task, ledger, self.rules)
        """What a person should look at."""
        self._teacher = settings.teacher
        self._journal = journal
        self._leases = leases
        self._ledger = ledger
        self._reviewer = Reviewer(task, ledger, self.rules, settings.watch)
        self._forgetting = Forgetting(task, ledger, settings.privacy.retention_days)
        self._streams = [stream_name(task, kind) for kind in _KINDS]
        self._truths = stream_name(task, Kind.FEEDBACK)
        self.intake = Intake(task, self.rules, self._forgetting, ledger)
        """Counts what was left out, and why."""
        self.history = History(self._streams, archive_url, ledger)
        """Counts what came from the archive."""
        days, hours = settings.watch.feedback_days, settings.watch.feedback_wait_hours
        look_up = None if archive_url is None else FeedbackArchive(archive_url, ledger, task, self.rules, days).look_up
        self._feedback = FeedbackJoin(task, self.rules, self.intake.recent, look_up, wait_hours=hours)
        self._snapshot_seconds = snapshot_seconds
        self._on_snapshot = on_snapshot
        self._revision = -1
        self._stored = 0.0
        self._reviewed = 0.0
        self._turns = turns if turns is not None else Turns()
        self._drift = DriftScoring(task, self.rules.drift, self._turns.scoring)
        self.up = True
        """Whether the last round went through."""

    async def run(self) -> None:
        """Read until cancelled. Redis or the ledger being away does not end it."""
        backoff = Backoff()
        while not is_cancelled():
            try:
                await self._round()
            except (RedisError, SQLAlchemyError, StateError) as error:
                if self.up:
                    _log.warning("watching_stopped", task=self.task, error=str(error) or type(error).__name__)
                self.up = False
                await self._on_snapshot(self)
                await backoff.pause()
                continue
            if not self.up:
                _log.info("watching_again", task=self.task)
            self.up = True
            backoff.reset()

    async def stop(self) -> None:
        """After `run` has ended: store what was read, and give the lease to the next one."""
        self.intake.changed |= await self._drift.stop(self.state.drift)
        self.intake.changed |= await self._feedback.stop(self.state, time.time())
        try:
            if self.leading:
                await self._store()
            await self._leases.give_back(self._lease)
        except (RedisError, SQLAlchemyError) as error:
            _log.warning("snapshot_not_stored", task=self.task, error=str(error), effect="the rest is read again")

    @property
    def state(self) -> TaskState:
        """What the records have come to."""
        return self.intake.state

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
            await self._on_snapshot(self)
            await asyncio.sleep(1.0)
            return
        if not self.leading or self._revision < 0:
            await self._load()
            self.leading = True
        await self._read()
        self.intake.changed |= self._drift.step(self.state.drift)
        self._join_feedback()
        now = time.monotonic()
        tripped = is_due(self.state, self.rules) and now - self._reviewed >= _REVIEW_SECONDS
        late = (now - self._stored) / self._snapshot_seconds
        if tripped or late >= (_LATEST if self._turns.storing.locked() else 1):
            async with self._turns.storing:
                await self._review()
                await self._forget()
                await self._store()

    async def _load(self) -> None:
        """Begin from the last snapshot. Raises StateError where it was written by another Tutelage."""
        found = await asyncio.to_thread(self._ledger.snapshots.load, self.task, NAME)
        state, position = TaskState(self.task), Position()
        if found is not None:
            state = decode_state(found.state, self.task)
            position = msgspec.convert(found.position, Position)
        else:
            await self.history.leave(position)
        state.money.price_at(await asyncio.to_thread(price_of, self._teacher))  # settings may have changed meanwhile
        self.intake.state, self.intake.position, self.intake.changed = state, position, False
        self._revision, self._stored = found.revision if found is not None else 0, time.monotonic()
        _log.info("watching", task=self.task, revision=self._revision, champion=state.champion)

    async def _read(self) -> None:
        """Take what is next: from the archive where the streams no longer hold it, else from the streams."""
        position = self.intake.position
        position.meet(await self._journal.incarnation())
        full = self.state.feedback.is_full
        if position.catching_up:
            await (asyncio.sleep(_BLOCK_MS / 1000) if full else self.history.catch_up(self.intake))
            return
        after = {stream: position.after(stream) for stream in self._streams if not (full and stream == self._truths)}
        for stream, entries in (await self._journal.read_many(after, _READ_ENTRIES, _BLOCK_MS)).items():
            for entry in entries:
                if position.finds_gap(stream, entry):
                    _log.warning("stream_was_trimmed", task=self.task, stream=stream, records=position.gaps[stream])
                    return
                await self.intake.take(stream, entry)

    async def _review(self) -> None:
        self._reviewed = time.monotonic()
        await asyncio.to_thread(self._reviewer.review, self.state, time.time())
        await asyncio.to_thread(self.reviews.fill, self.state, time.time())

    async def _forget(self) -> None:
        """After a review, whose alarms may quote what must go."""
        now = time.time()
        if await asyncio.to_thread(self._forgetting.is_due, now):
            self.intake.changed |= bool(await asyncio.to_thread(self._forgetting.forget, self.state, now))

    async def _store(self) -> None:
        """Store state and position together; where somebody else has, begin from theirs."""
        self._stored = time.monotonic()
        if self.intake.changed:
            state = encode_state(self.state)
            position: dict[str, Any] = msgspec.to_builtins(self.intake.position)
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
            self.intake.changed = False
            self.stored_at = time.time()
        await self._on_snapshot(self)

    def _join_feedback(self) -> None:
        read = self.intake.position.offsets.get(self._truths, {})
        self.intake.changed |= self._feedback.step(self.state, read, time.time())
