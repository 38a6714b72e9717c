"""What must be forgotten: tombstones, so that a record that is still on its way does not come back.

A tombstone holds no name and no id but a digest: BLAKE2b under a key that was drawn when the ledger was created.
Whoever has the ledger can test a name that he guesses, and read none. A tombstone of an exchange holds for good, one of
a user for what he asked up to then. They are kept: a log that turns up again after a year must not bring anything back.

Every writing raises the *revision*, a row that every commit of the archive locks (see `core.ledger.archive_index`). So
a file is either listed before the tombstone is there, and whoever wrote the tombstone finds it; or its writer is told
that its rows were not held against the newest tombstones, and writes it again without what is forgotten.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Engine, delete, insert, select, update

from core.ledger.tables import deleted_data, forgotten, meta
from core.records import Exchange, Feedback, Record

REVISION: Final = "forgotten_revision"
"""Key in `meta`."""

_DIGEST_BYTES: Final = 16
_EXCHANGE: Final = "exchange"
_USER: Final = "user"


@dataclass(frozen=True, slots=True)
class DataDeletion:
    """Examples that were taken out of a run's data after it was written. `at` in seconds since the epoch."""

    run: str
    cause: str
    """`forgotten` or `retention`."""
    examples: int
    at: float


class Tombstones:
    """All tombstones, in memory. `refresh` reads what is new; the others read nothing. For one thread at a time."""

    def __init__(self, engine: Engine, key: Callable[[], bytes]) -> None:
        self.revision = -1
        """Up to which they are known; -1 before the first `refresh`."""
        self._engine = engine
        self._read_key = key
        self._key = b""
        self._exchanges: set[str] = set()
        self._users: dict[tuple[str, str], float] = {}

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._exchanges or self._users)

    def refresh(self) -> bool:
        """Read what is new; whether there was anything. Raises sqlalchemy.exc.SQLAlchemyError."""
        self._key = self._key or self._read_key()
        with self._engine.connect() as connection:
            revision = int(connection.execute(select(meta.c.value).where(meta.c.key == REVISION)).scalar_one())
            if revision == self.revision:
                return False
            new = forgotten.c.revision > self.revision, forgotten.c.revision <= revision
            for row in connection.execute(select(forgotten).where(*new)):
                if row.kind == _EXCHANGE:
                    self._exchanges.add(row.digest)
                else:
                    self._users[row.digest, row.task] = row.at
        self.revision = revision
        return True

    def has(self, *identifiers: str) -> bool:
        """Whether an exchange with one of these ids, ours or a completion's, is forgotten."""
        return bool(self._exchanges) and any(
            name and digest(self._key, name) in self._exchanges for name in identifiers
        )

    def has_user(self, user: str, task: str, at: float) -> bool:
        """Whether what a user asked at that time (seconds since the epoch) is forgotten."""
        if not user or not self._users:
            return False
        known = digest(self._key, user)
        return any(at <= self._users.get((known, scope), float("-inf")) for scope in (task, ""))

    def hold(self, record: Record) -> bool:
        """Whether a record is forgotten: an exchange, or what is about one."""
        if not self:
            return False
        if isinstance(record, Exchange):
            return self.has(record.id, record.completion_id) or self.has_user(record.user, record.task, record.at)
        about = record.exchange
        return self.has(about, record.id) if isinstance(record, Feedback) else self.has(about)


class Forgotten:
    """The part of the ledger that knows what is forgotten."""

    def __init__(self, engine: Engine, key: Callable[[], bytes]) -> None:
        """`key` reads the ledger's key of the digests."""
        self._engine = engine
        self._key = key

    def tombstones(self) -> Tombstones:
        """All of them, still to be read."""
        return Tombstones(self._engine, self._key)

    def add(
        self,
        *,
        exchanges: Iterable[str] = (),
        users: Iterable[str] = (),
        task: str = "",
        at: float | None = None,
    ) -> int:
        """Write tombstones for exchanges, by their ids, and users, in one task or (empty) in all; the new revision.

        `at`: now, by default. What is there already is written again, and a user's time moves on.
        """
        when = time.time() if at is None else at
        key = self._key()
        rows = [(_EXCHANGE, digest(key, name), "") for name in exchanges]
        rows += [(_USER, digest(key, name), task) for name in users]
        with self._engine.begin() as connection:
            revision = _raise_revision(connection)
            for kind, hashed, scope in dict.fromkeys(rows):
                same = forgotten.c.kind == kind, forgotten.c.digest == hashed, forgotten.c.task == scope
                connection.execute(delete(forgotten).where(*same))
                values = {"kind": kind, "digest": hashed, "task": scope, "at": when, "revision": revision}
                connection.execute(insert(forgotten).values(values))
        return revision

    def note_deletion(self, deletion: DataDeletion) -> None:
        """Write down that examples were taken out of a run's data."""
        values = {"run": deletion.run, "cause": deletion.cause, "examples": deletion.examples, "at": deletion.at}
        with self._engine.begin() as connection:
            connection.execute(insert(deleted_data).values(values))

    def deletions(self, run: str) -> list[DataDeletion]:
        """What was taken out of a run's data, the oldest first."""
        query = select(deleted_data).where(deleted_data.c.run == run).order_by(deleted_data.c.id)
        with self._engine.connect() as connection:
            return [DataDeletion(row.run, row.cause, row.examples, row.at) for row in connection.execute(query)]


def digest(key: bytes, name: str) -> str:
    """What a tombstone holds of an id or a name."""
    # Three of these for every record that is archived, once there are tombstones: the fastest keyed hash there is here.
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), key=key, digest_size=_DIGEST_BYTES).hexdigest()


def locked_revision(connection: Connection) -> int:
    """The revision, which cannot change until the connection's transaction ends.

    On SQLite the transaction must have written something before: then nobody else can write.
    """
    query = select(meta.c.value).where(meta.c.key == REVISION).with_for_update(read=True)
    return int(connection.execute(query).scalar_one())


def _raise_revision(connection: Connection) -> int:
    """Count on, having waited for the transactions that hold the row."""
    raised = update(meta).where(meta.c.key == REVISION)
    connection.execute(raised.values(value=meta.c.value))  # waits; from here on nobody else writes the row
    revision = int(connection.execute(select(meta.c.value).where(meta.c.key == REVISION)).scalar_one()) + 1
    connection.execute(raised.values(value=str(revision)))
    return revision
