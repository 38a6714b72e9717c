"""Forgetting an exchange, or a user: in every store that this machine reaches, in an order that may be broken off.

1. *Find* the exchanges: in the archive, the journal and this machine's logs.
2. Write *tombstones*. From here on nothing of them is archived any more, and roles elsewhere clear what they hold.
3. Hollow the records that are on their way: logs, then the journal.
4. Clear what was made of them: data sets of runs, the monitor's examples, alarms, reviews.
5. Remove them from the archive. This comes last, since the archive is what a second attempt finds them by.
6. Audit, in numbers alone.

Every step may be done twice. Whatever kills the command, calling it again with the same arguments finishes the work.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from redis.exceptions import RedisError

from core.archive import Archive
from core.archive.removal import Removal
from core.forgetting import hollow_logs, hollow_stream, journalled_records, logged_records
from core.ids import minted_at
from core.journal import Journal, stream_parts
from core.ledger import Ledger, Tombstones
from core.privacy import Privacy, needs_key
from core.records import Exchange, Kind, Record
from core.secret_file import load_secret
from core.settings import PrivacySettings, Settings
from monitoring.forgetting import forget_in_snapshot
from training.forgetting import remove_examples

_NO_REDIS: Final = "the journal's Redis does not answer, and may hold more; start it, then run this again"

_NO_REWRITE: Final = "Redis did not write its files anew; run BGREWRITEAOF or BGSAVE there, since they may hold more"
_LEDGER_BUSY: Final = "the ledger's write-ahead log is in use, and may hold more; run this again"
_PURGE_TRIES: Final = 20


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be forgotten: an exchange, by its id or its completion's, or all that a user has asked for so far."""

    exchange: str = ""
    user: str = ""
    task: str | None = None
    """Only of this task."""
    at: float = field(default_factory=time.time)
    """What a user asks for later than this (seconds since the epoch) stays."""


@dataclass(slots=True)
class Outcome:
    """What was found, and what was removed where."""

    exchanges: set[str] = field(default_factory=set)
    """Their ids, the completions' included."""
    removed: dict[str, int] = field(default_factory=dict)
    """Records, rows and examples, by place."""
    notes: list[str] = field(default_factory=list)
    """What could not be reached, and what to do about it."""


class Forgetter:
    """Forgets with the stores of one settings file. Calls block."""

    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        self._settings = settings
        self._ledger = ledger
        self._archive = Archive(settings.archive_url, ledger)
        self._removal = Removal(self._archive, ledger)
        self._folders = (settings.log_folder, settings.shadow_log_folder)

    def find(self, wanted: Wanted) -> Outcome:
        """What is to be forgotten; changes nothing. Raises what the stores raise, but for Redis being away."""
        found = Outcome()
        users = self._users(wanted, found.notes)
        if wanted.exchange:
            found.exchanges.add(wanted.exchange)
        for task in self._tasks(wanted):
            if wanted.exchange:
                found.exchanges |= self._removal.aliases_of(task, wanted.exchange)
            if users:
                found.exchanges |= self._removal.exchanges_of(task, users, wanted.at)
        for record in self._under_way(partial(_is_wanted, wanted, users), wanted.task, found.notes):
            found.exchanges |= {record.id, record.completion_id} - {""}
        return found

    def forget(self, wanted: Wanted, found: Outcome, actor: str) -> Outcome:
        """Forget what `find` has found, and what may still come. Raises what the stores raise, but for Redis."""
        forgotten = self._ledger.forgotten
        forgotten.add(exchanges=found.exchanges, at=wanted.at)
        if wanted.user:
            forgotten.add(users=self._users(wanted, []), task=wanted.task or "", at=wanted.at)
        tombstones = forgotten.tombstones()
        tombstones.refresh()
        done = Outcome(found.exchanges, {}, list(found.notes))
        self._hollow(wanted, tombstones, done)
        removed = remove_examples(self._settings, self._ledger, lambda name, _: tombstones.has(name), "forgotten")
        tasks = self._tasks(wanted)
        done.removed["examples of runs"] = removed.examples
        done.removed["examples of the monitor"] = sum(
            forget_in_snapshot(self._ledger, task, tombstones.has) for task in tasks
        )
        done.removed["examples of alarms"] = self._ledger.alarms.drop_examples(tombstones.has)
        done.removed["reviews"] = self._ledger.reviews.drop(tombstones.has)
        done.removed["texts of golden sets"] = self._ledger.golden.drop_examples(tombstones.has)
        done.removed["examples of templates"] = self._ledger.unknown_templates.drop_examples(
            lambda task, exchange, user: (
                tombstones.has(exchange) or tombstones.has_user(user, task, minted_at(exchange))
            )
        )
        # What is about an exchange first: as long as the exchange is there, it is found again.
        for kind in (Kind.COMPARISON, Kind.FEEDBACK, Kind.EXCHANGE):
            rows = sum(self._removal.remove(task, kind, found.exchanges) for task in tasks)
            done.removed[f"archived {kind.value}"] = rows
        if not self._purged():
            done.notes.append(_LEDGER_BUSY)
        self._ledger.audit(
            actor,
            "forget",
            wanted.task or "",
            detail={"by": "user" if wanted.user else "exchange", "removed": done.removed, "complete": not done.notes},
        )
        return done

    def _purged(self) -> bool:
        """Whether the ledger's files are free of what was deleted; readers may be in the way for a moment."""
        for _ in range(_PURGE_TRIES):
            if self._ledger.purge():
                return True
            time.sleep(0.1)
        return False

    def _hollow(self, wanted: Wanted, tombstones: Tombstones, done: Outcome) -> None:
        done.removed["records in logs"] = 0
        for folder in self._folders:
            logs = hollow_logs(folder, tombstones.hold)
            done.removed["records in logs"] += logs.records
            done.notes += [f"{path}: damaged, and may hold more; delete it" for path in logs.left]
        try:
            done.removed["records in the journal"] = asyncio.run(self._hollow_journal(wanted, tombstones, done.notes))
        except (RedisError, OSError):
            done.notes += [] if _NO_REDIS in done.notes else [_NO_REDIS]

    async def _hollow_journal(self, wanted: Wanted, tombstones: Tombstones, notes: list[str]) -> int:
        journal = Journal.connect(self._settings.redis.address)
        try:
            streams = _of_task(await journal.streams(), wanted.task)
            hollowed = sum([await hollow_stream(journal, stream, tombstones.hold) for stream in streams])
            if not await journal.rewrite_files():
                notes.append(_NO_REWRITE)
            return hollowed
        finally:
            await journal.close()

    def _under_way(self, wants: Callable[[Record], bool], task: str | None, notes: list[str]) -> list[Exchange]:
        """The exchanges that are wanted, in this machine's logs and in the journal."""
        found = [record for folder in self._folders for record in logged_records(folder) if wants(record)]
        try:
            found += asyncio.run(self._journalled(wants, task))
        except (RedisError, OSError):
            notes.append(_NO_REDIS)
        return [record for record in found if isinstance(record, Exchange)]

    async def _journalled(self, wants: Callable[[Record], bool], task: str | None) -> list[Record]:
        journal = Journal.connect(self._settings.redis.address)
        try:
            streams = [name for name in _of_task(await journal.streams(), task) if name.endswith(Kind.EXCHANGE.value)]
            return [
                record for stream in streams async for record in journalled_records(journal, stream) if wants(record)
            ]
        finally:
            await journal.close()

    def _tasks(self, wanted: Wanted) -> list[str]:
        """Those of the settings, and those that are only in the archive still."""
        if wanted.task is not None:
            return [wanted.task]
        archived = (name for kind in Kind for name in self._ledger.archive_index.tasks(kind.value))
        return sorted({*self._settings.tasks, *archived})

    def _users(self, wanted: Wanted, notes: list[str]) -> set[str]:
        """The names under which a user may be stored: as given, and hashed."""
        if not wanted.user:
            return set()
        if self._settings.privacy_key.is_file():
            key = load_secret(self._settings.privacy_key, "privacy key")
            return {wanted.user, Privacy(PrivacySettings(), key).hashed_user(wanted.user)}
        if any(needs_key(task.privacy) for task in self._settings.tasks.values()):
            notes.append(
                f"{self._settings.privacy_key}: there is no privacy key here, so that hashed users cannot be found; "
                "copy the gateway's, then run this again"
            )
        return {wanted.user}


def _is_wanted(wanted: Wanted, users: Collection[str], record: Record) -> bool:
    if not isinstance(record, Exchange) or (wanted.task is not None and record.task != wanted.task):
        return False
    if wanted.exchange:
        return wanted.exchange in (record.id, record.completion_id)
    return record.user in users and record.at <= wanted.at


def _of_task(streams: Iterable[str], task: str | None) -> list[str]:
    return [stream for stream in streams if task is None or stream_parts(stream)[0] == task]
