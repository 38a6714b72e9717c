"""The ledger itself: its database, trust, and the audit trail. Calls block; asynchronous callers use a thread."""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, delete, event, insert, select, update
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, IntegrityError, OperationalError, ProgrammingError
from sqlalchemy.schema import CreateIndex, CreateTable, ExecutableDDLElement

from core.errors import SettingsError, StartupError, StateError
from core.ledger.alarms import Alarms
from core.ledger.archive_index import ArchiveIndex
from core.ledger.audit import write_audit
from core.ledger.canaries import Canaries
from core.ledger.forgotten import REVISION, Forgotten
from core.ledger.golden import Golden
from core.ledger.keys import Keys
from core.ledger.notifications import Notifications
from core.ledger.reviews import SEQUENCE, Reviews
from core.ledger.runs import Runs
from core.ledger.snapshots import Snapshots
from core.ledger.spend import Spends
from core.ledger.tables import SCHEMA, audit, meta, metadata, trust
from core.ledger.templates import Templates
from core.ledger.thresholds import Thresholds
from core.ledger.unknown_templates import UnknownTemplates

_BUSY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Trust:
    """Whether a student's version may answer a label, and the evidence for it."""

    task: str
    version: str
    label: str
    trusted: bool
    agreement: float
    """With the teacher, on held-out examples of this label."""
    examples: int
    evidence: str
    """For a person: what the verdict rests on."""
    at: float
    """Seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what, when (seconds since the epoch)."""

    at: float
    actor: str
    action: str
    task: str
    version: str
    detail: dict[str, Any]


class Ledger:
    """The ledger at an SQLAlchemy URL (SQLite or PostgreSQL). Thread-safe.

    Raises SettingsError where the URL is none, StartupError where an SQLite file's folder cannot be made. Every other
    method raises sqlalchemy.exc.SQLAlchemyError while the database is away.
    """

    def __init__(self, url: str) -> None:
        self._engine = _connect(url)
        self.archive_index = ArchiveIndex(self._engine)
        """The archive's part."""
        self.alarms = Alarms(self._engine)
        """The alarms."""
        self.notifications = Notifications(self._engine)
        """What was told about them."""
        self.snapshots = Snapshots(self._engine)
        """The states of those that read the journal."""
        self.reviews = Reviews(self._engine)
        """What waits for a person's verdict, and the verdicts."""
        self.runs = Runs(self._engine)
        """The retrainings."""
        self.thresholds = Thresholds(self._engine)
        """From which confidence on versions may answer."""
        self.canaries = Canaries(self._engine)
        """Which challengers answer a share of live requests."""
        self.templates = Templates(self._engine)
        """The prompt templates that were accepted."""
        self.unknown_templates = UnknownTemplates(self._engine)
        """Those that clients use and no task knows."""
        self.keys = Keys(self._engine)
        """The API keys."""
        self.spend = Spends(self._engine)
        """What keys and tasks have spent."""
        self.golden = Golden(self._engine)
        """The texts that teachers are asked again and again."""
        self.forgotten = Forgotten(self._engine, self._forgetting_key)
        """What must be forgotten."""

    def migrate(self) -> None:
        """Create what is missing; several processes may do it at once.

        Raises StateError where the ledger was written by a newer Tutelage, StartupError where the database cannot be
        reached or written.
        """
        try:
            self._create_tables()
            schema = int(self._setting("schema", str(SCHEMA)))
            self._setting(REVISION, "0")
            self._setting(SEQUENCE, "0")
        except OperationalError as error:
            raise StartupError(
                f"the ledger {self._engine.url!r} cannot be opened ({error.orig}); set `ledger.url` to a database that "
                "is running and writable"
            ) from error
        if schema > SCHEMA:
            raise StateError(
                f"the ledger {self._engine.url!r} has schema {schema}, newer than {SCHEMA}, which this Tutelage knows; "
                "upgrade this program, or set `ledger.url` to another ledger"
            )
        if schema < SCHEMA:
            self._raise_schema(schema)

    @property
    def id(self) -> str:
        """Eight hexadecimal digits, drawn when the ledger was created: the archive's files are named after them."""
        return self._setting("id", secrets.token_hex(4))

    def trust(self, task: str, version: str) -> dict[str, Trust]:
        """The trust of a student's version, by label; empty where nothing is known of it."""
        query = select(trust).where(trust.c.task == task, trust.c.version == version).order_by(trust.c.label)
        with self._engine.connect() as connection:
            return {row["label"]: Trust(**row) for row in connection.execute(query).mappings()}

    def trusted(self, task: str) -> dict[str, frozenset[str]]:
        """The labels that may be answered, by version. A version of which no label is trusted has an empty set."""
        query = select(trust.c.version, trust.c.label, trust.c.trusted).where(trust.c.task == task)
        found: dict[str, set[str]] = {}
        with self._engine.connect() as connection:
            for version, label, is_trusted in connection.execute(query):
                labels = found.setdefault(version, set())
                if is_trusted:
                    labels.add(label)
        return {version: frozenset(labels) for version, labels in found.items()}

    def set_trust(self, task: str, version: str, verdicts: Sequence[Trust]) -> None:
        """Replace the trust of a version, all labels at once.

        Raises ValueError where a verdict is about another task or version.
        """
        if any((verdict.task, verdict.version) != (task, version) for verdict in verdicts):
            raise ValueError(f"a verdict is not about {task} {version}")
        with self._engine.begin() as connection:
            connection.execute(delete(trust).where(trust.c.task == task, trust.c.version == version))
            if verdicts:
                connection.execute(insert(trust), [asdict(verdict) for verdict in verdicts])

    def audit(
        self, actor: str, action: str, task: str = "", version: str = "", detail: Mapping[str, Any] | None = None
    ) -> None:
        """Write down who did what. `detail` must be JSON."""
        with self._engine.begin() as connection:
            write_audit(connection, time.time(), actor, action, task=task, version=version, detail=detail)

    def audit_trail(self, task: str | None = None, limit: int = 100) -> list[AuditEntry]:
        """The newest entries first, of one task or of all."""
        query = select(audit).order_by(audit.c.id.desc()).limit(limit)
        if task is not None:
            query = query.where(audit.c.task == task)
        with self._engine.connect() as connection:
            return [
                AuditEntry(row.at, row.actor, row.action, row.task, row.version, json.loads(row.detail))
                for row in connection.execute(query)
            ]

    def purge(self) -> bool:
        """Leave nothing in the database's files that was deleted or overwritten; False where readers are in the way.

        On SQLite: empty its write-ahead log. PostgreSQL cleans up behind itself (autovacuum).
        """
        if self._engine.dialect.name != "sqlite":
            return True
        with self._engine.connect() as connection:
            busy, _, _ = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
        return not busy

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def _create_tables(self) -> None:
        statements: list[ExecutableDDLElement] = []
        for table in metadata.sorted_tables:
            statements.append(CreateTable(table, if_not_exists=True))
            statements += [CreateIndex(index, if_not_exists=True) for index in table.indexes]
        try:
            with self._engine.begin() as connection:
                for statement in statements:
                    connection.execute(statement)
        except (IntegrityError, ProgrammingError):
            # PostgreSQL lets two of them collide even with IF NOT EXISTS; the other one has created it.
            with self._engine.begin() as connection:
                for statement in statements:
                    connection.execute(statement)

    def _raise_schema(self, schema: int) -> None:
        """Note that an older ledger is one of today. So far each step has only added tables, which are there by now."""
        older = update(meta).where(meta.c.key == "schema", meta.c.value == str(schema))
        with self._engine.begin() as connection:
            connection.execute(older.values(value=str(SCHEMA)))

    def _forgetting_key(self) -> bytes:
        """The key of the tombstones' digests, drawn when the ledger was created."""
        return bytes.fromhex(self._setting("forgetting_key", secrets.token_hex(32)))

    def _setting(self, key: str, default: str) -> str:
        """The value that stands in `meta`; `default`, written down for good, where there is none."""
        query = select(meta.c.value).where(meta.c.key == key)
        with self._engine.connect() as connection:
            value = connection.execute(query).scalar_one_or_none()
        if value is not None:
            return str(value)
        try:
            with self._engine.begin() as connection:
                connection.execute(insert(meta).values(key=key, value=default))
        except IntegrityError:
            return self._setting(key, default)  # somebody else was faster
        return default


def _connect(url: str) -> Engine:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise SettingsError(
            "`ledger.url` is not an SQLAlchemy URL; it looks like sqlite:////var/lib/tutelage/ledger.db or "
            "postgresql+psycopg://user@host/tutelage"
        ) from error
    if parsed.get_backend_name() != "sqlite":
        return create_engine(parsed, pool_pre_ping=True)
    _make_folder(parsed)
    engine = create_engine(parsed, connect_args={"timeout": _BUSY_SECONDS})
    event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _make_folder(url: URL) -> None:
    if not url.database or url.database == ":memory:":
        return
    folder = Path(url.database).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StartupError(
            f"{folder}: cannot be created for the ledger ({error.strerror}); make it writable, or set `ledger.url`"
        ) from error


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    """Let readers read beside a writer (WAL), and a commit survive a lost machine (FULL): logs are deleted on it.

    What is deleted is overwritten (secure_delete): it may be what a person wants to be forgotten.
    """
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}").close()
