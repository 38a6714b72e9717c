"""The ledger's tables. Times are seconds since the epoch (UTC).

A change here needs a new SCHEMA, and a step in `Ledger.migrate` that leads there from the one before.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Double, Index, Integer, MetaData, String, Table, Text

SCHEMA: Final = 1

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
