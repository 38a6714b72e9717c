"""The ledger's tables. Times are seconds since the epoch (UTC).

A change here needs a new SCHEMA, and a step in `Ledger.migrate` that leads there from the one before.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)

SCHEMA: Final = 5

metadata: Final = MetaData()

meta: Final = Table(
    "meta",
    metadata,
    Column("key", String(32), primary_key=True),
    Column("value", Text, nullable=False),
)

archive_files: Final = Table(
    "archive_files",
    metadata,
    Column("path", String(512), primary_key=True),  # below the archive's root
    Column("task", String(64), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("day", String(10), nullable=False),
    Column("rows", Integer, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("min_at", Double, nullable=False),
    Column("max_at", Double, nullable=False),
    Column("created", Double, nullable=False),
    Column("retired", Double),  # merged into another file since then; on disk only for readers that began before
    Index("archive_files_by_task", "task", "kind", "day"),
)

archive_positions: Final = Table(
    "archive_positions",
    metadata,
    Column("stream", String(128), primary_key=True),
    Column("source", String(64), primary_key=True),
    Column("position", BigInteger, nullable=False),
)

trust: Final = Table(
    "trust",
    metadata,
    Column("task", String(64), primary_key=True),
    Column("version", String(64), primary_key=True),
    Column("label", String(512), primary_key=True),
    Column("trusted", Boolean, nullable=False),
    Column("agreement", Double, nullable=False),
    Column("examples", Integer, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("at", Double, nullable=False),
)

thresholds: Final = Table(
    "thresholds",
    metadata,
    Column("task", String(64), primary_key=True),
    Column("version", String(64), primary_key=True),
    Column("confidence", Double),  # null: none has been shown to reach the target
    Column("target", Double, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("at", Double, nullable=False),
)

canaries: Final = Table(
    "canaries",
    metadata,
    Column("task", String(64), primary_key=True),  # one at a time
    Column("version", String(64), nullable=False),
    Column("share", Double, nullable=False),
    Column("at", Double, nullable=False),
)

audit: Final = Table(
    "audit",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("at", Double, nullable=False),
    Column("actor", String(256), nullable=False),
    Column("action", String(64), nullable=False),
    Column("task", String(64), nullable=False),
    Column("version", String(64), nullable=False),
    Column("detail", Text, nullable=False),  # JSON
    Index("audit_by_task", "task", "id"),
)

_UNREVOKED: Final = text("revoked_at IS NULL")

api_keys: Final = Table(
    "api_keys",
    metadata,
    Column("id", String(16), primary_key=True),  # the public part of the key
    Column("name", String(64), nullable=False),
    Column("digest", LargeBinary, nullable=False),  # SHA-256 of the whole key
    Column("tasks", Text, nullable=False),  # JSON; an empty list: all
    Column("limits", Text, nullable=False),  # JSON
    Column("created_at", Double, nullable=False),
    Column("revoked_at", Double),  # a revoked key stays: that there ever was one keeps authentication on
    # One valid key a name: the database itself refuses a second.
    Index("api_keys_one_valid", "name", unique=True, sqlite_where=_UNREVOKED, postgresql_where=_UNREVOKED),
)

_RUNNING: Final = text("state = 'running'")

runs: Final = Table(
    "runs",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("task", String(64), nullable=False),
    Column("alarm", String(64), nullable=False),  # empty: a person asked for it
    Column("state", String(16), nullable=False),
    Column("step", String(32), nullable=False),  # the one that is under way, or comes next
    Column("candidate", String(64), nullable=False),
    Column("champion", String(64), nullable=False),
    Column("started", Double, nullable=False),
    Column("updated", Double, nullable=False),
    Column("verdict", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("report", String(1024), nullable=False),
    Column("record", Text, nullable=False),  # JSON: what each finished step found
    Column("owner", String(256), nullable=False),  # the trainer that works on it; empty: nobody
    Column("heartbeat", Double, nullable=False),
    Column("attempts", Integer, nullable=False),  # of the step under way
    Index("runs_by_task", "task", "started"),
    # One run per task at a time, whoever asks: the database itself refuses a second.
    Index("runs_one_running", "task", unique=True, sqlite_where=_RUNNING, postgresql_where=_RUNNING),
)

_UNRESOLVED: Final = text("state != 'resolved'")

alarms: Final = Table(
    "alarms",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("task", String(64), nullable=False),
    Column("version", String(64), nullable=False),
    Column("signal", String(64), nullable=False),
    Column("cause", String(128), nullable=False),
    Column("severity", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("opened", Double, nullable=False),
    Column("updated", Double, nullable=False),
    Column("resolved", Double),
    Column("cooldown", Double, nullable=False),  # until then the cause opens no other
    Column("retrain", Boolean, nullable=False),
    Column("labels", Text, nullable=False),  # JSON
    Column("evidence", Text, nullable=False),  # JSON
    Column("first_exchange", String(64), nullable=False),
    Column("note", Text, nullable=False),
    Index("alarms_by_task", "task", "opened"),
    # One open alarm a cause: the database itself refuses a second.
    Index(
        "alarms_one_open",
        "task",
        "version",
        "cause",
        unique=True,
        sqlite_where=_UNRESOLVED,
        postgresql_where=_UNRESOLVED,
    ),
)

notifications: Final = Table(
    "notifications",
    metadata,
    Column("alarm", String(64), primary_key=True),
    Column("event", String(16), primary_key=True),  # `opened`, `escalated` or `resolved`
    Column("channel", String(64), primary_key=True),
    Column("attempts", Integer, nullable=False),  # that failed
    Column("tried", Double, nullable=False),  # the last one
    Column("sent", Double),  # null: not yet
    Column("error", Text, nullable=False),
)

snapshots: Final = Table(
    "snapshots",
    metadata,
    Column("task", String(64), primary_key=True),
    Column("name", String(32), primary_key=True),
    Column("revision", BigInteger, nullable=False),
    Column("position", Text, nullable=False),  # JSON
    Column("state", LargeBinary, nullable=False),
    Column("at", Double, nullable=False),
)

spend: Final = Table(
    "spend",
    metadata,
    Column("scope", String(96), primary_key=True),  # `key:<id>` or `task:<name>`
    Column("period", String(10), primary_key=True),  # a day, 2026-03-31, or a month, 2026-03 (UTC)
    Column("dollars", Double, nullable=False),
    Column("ends", Double, nullable=False),  # when the period does
)

forgotten: Final = Table(
    "forgotten",
    metadata,
    Column("kind", String(16), primary_key=True),  # `exchange` or `user`
    Column("digest", String(64), primary_key=True),
    Column("task", String(64), primary_key=True),  # empty: every task
    Column("at", Double, nullable=False),  # what is of a user and later than this is not forgotten
    Column("revision", BigInteger, nullable=False),
    Index("forgotten_by_revision", "revision"),
)

deleted_data: Final = Table(
    "deleted_data",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("run", String(64), nullable=False),
    Column("cause", String(16), nullable=False),  # `forgotten` or `retention`
    Column("examples", Integer, nullable=False),
    Column("at", Double, nullable=False),
    Index("deleted_data_by_run", "run"),
)

accepted_templates: Final = Table(
    "accepted_templates",
    metadata,
    Column("task", String(64), primary_key=True),
    Column("version", String(80), primary_key=True),
    Column("template", Text, nullable=False),  # JSON
    Column("source", String(32), nullable=False),  # the unknown template that it came of
    Column("actor", String(256), nullable=False),
    Column("accepted_at", Double, nullable=False),
    Column("dropped_at", Double),  # a dropped one stays: exchanges that it read name its version
)

unknown_templates: Final = Table(
    "unknown_templates",
    metadata,
    Column("task", String(64), primary_key=True),
    Column("id", String(32), primary_key=True),
    Column("state", String(16), nullable=False),  # `new` or `rejected`
    Column("roles", Text, nullable=False),  # JSON
    Column("template", Text, nullable=False),  # JSON: the suggestion; empty: there is none, or it may not be stored
    Column("withheld", String(16), nullable=False),  # why it is not whole: `hashed`, `none`, `redacted`, or empty
    Column("example", Text, nullable=False),  # JSON; empty: none may be stored, or it was deleted
    Column("exchange", String(64), nullable=False),  # whose messages the example is
    Column("user", Text, nullable=False),  # and who asked it
    Column("requests", BigInteger, nullable=False),
    Column("among", BigInteger, nullable=False),  # all requests of the task meanwhile
    Column("first_seen", Double, nullable=False),
    Column("last_seen", Double, nullable=False),
)

golden_sets: Final = Table(
    "golden_sets",
    metadata,
    Column("task", String(64), primary_key=True),
    Column("number", Integer, primary_key=True),  # counted from 1; only the newest of a task is kept
    Column("source", String(16), nullable=False),  # `files` or `traffic`
    Column("teacher", String(32), nullable=False),  # digest of all that says who is asked, and how
    Column("texts", String(32), nullable=False),  # digest of the files' texts
    Column("frozen_at", Double, nullable=False),
    Column("baseline", Integer, nullable=False),  # the round with which the comparison begins
)

golden_examples: Final = Table(
    "golden_examples",
    metadata,
    Column("task", String(64), primary_key=True),
    Column("set", Integer, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("text", Text, nullable=False),  # empty: it had to be forgotten
    Column("label", String(512), nullable=False),  # the truth; empty: not known
    Column("exchange", String(64), nullable=False),  # empty: of a file
)

golden_rounds: Final = Table(
    "golden_rounds",
    metadata,
    Column("task", String(64), primary_key=True),
    Column("set", Integer, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("owner", String(64), nullable=False),  # the worker that asks
    Column("started", Double, nullable=False),
    Column("finished", Double),  # null: under way
    Column("answers", Text, nullable=False),  # JSON, by the example's number
    Column("cost_usd", Double, nullable=False),
)

reviews: Final = Table(
    "reviews",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("task", String(64), nullable=False),
    Column("exchange", String(64), nullable=False),
    Column("why", String(16), nullable=False),  # `disagreement` or `red_team`
    Column("version", String(64), nullable=False),
    Column("student", String(512), nullable=False),  # its label; empty: none was asked
    Column("teacher", String(512), nullable=False),
    Column("confidence", Double, nullable=False),
    Column("teacher_confidence", Double),  # null: not known
    Column("probability", Double, nullable=False),  # with which it was drawn; 0: it was not drawn but chosen
    Column("drawn_from", Double, nullable=False),  # of answers in which the teacher was at least so confident
    Column("cluster", String(64), nullable=False),
    Column("text", Text, nullable=False),  # empty: it may not be kept
    Column("created", Double, nullable=False),
    Column("state", String(16), nullable=False),
    Column("verdict", String(512), nullable=False),
    Column("right", String(16)),  # `student`, `teacher`, `both` or `neither`; null: not judged
    Column("actor", String(256), nullable=False),
    Column("note", Text, nullable=False),
    Column("judged", Double),  # or skipped
    Column("feedback", String(64), nullable=False),  # the feedback's id
    Column("sequence", BigInteger),  # place in the outbox; null: not judged
    Index("reviews_once", "task", "exchange", unique=True),
    Index("reviews_by_state", "task", "state"),
    Index("reviews_outbox", "sequence", unique=True),
)
