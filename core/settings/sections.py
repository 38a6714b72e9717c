"""The sections about roles and stores: records whose fields describe themselves.

`docs/configuration.md` is made of these descriptions, and of those in `core/settings/task.py`.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """Base of all sections: unknown keys are refused, nothing is altered, fields are described by their docstrings."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Timeouts(Section):
    """The four time-outs of an upstream, in seconds."""

    connect: float = 2.0
    """To open a connection."""
    read: float = 60.0
    """Between two pieces of an answer."""
    write: float = 10.0
    """To send the request."""
    pool: float = 2.0
    """To get a connection from the pool."""


class GatewaySettings(Section):
    """The gateway."""

    host: str = "127.0.0.1"
    """Address to bind. Anything but loopback needs API keys."""
    port: int = Field(8080, ge=0, le=65535)
    """Port to bind; 0 takes a free one."""
    max_body_bytes: int = Field(4 * 1024 * 1024, ge=1024)
    """Larger bodies are refused with 413."""
    max_in_flight: int = Field(1024, ge=1)
    """Requests under way in one worker; more are shed at once with 429."""
    deadline_seconds: float = Field(120.0, gt=0)
    """A request that has no answer by then ends with 504."""
    refresh_seconds: float = Field(1.0, gt=0)
    """How often trust and the student's health are read anew."""
    drain_seconds: float = Field(10.0, ge=0)
    """How long a stopping worker waits for requests under way."""


class LogSettings(Section):
    """The local log that the gateway's workers write."""

    fsync: bool = False
    """Force every record to disk. Off, a record survives a killed process, not a lost machine."""
    segment_bytes: int = Field(16 * 1024 * 1024, ge=4096)
    """A segment is closed at this size."""
    max_bytes: int = Field(2 * 1024 * 1024 * 1024, ge=1024 * 1024)
    """Upper bound of the log on disk; past it records are dropped and counted."""


class StudentSettings(Section):
    """The student server."""

    host: str = "127.0.0.1"
    """Address to bind."""
    port: int = Field(8081, ge=0, le=65535)
    """Port to bind."""
    url: str | None = None
    """Where the gateway finds it; by default http://host:port."""
    max_batch: int = Field(64, ge=1, le=4096)
    """Most texts in one batch."""
    max_queue: int = Field(2048, ge=1)
    """Texts waiting; more are shed with 429."""
    poll_seconds: float = Field(2.0, gt=0)
    """How often the registry is asked for a new champion."""
    timeouts: Timeouts = Timeouts(connect=1.0, read=10.0, write=2.0, pool=1.0)
    """Time-outs of the gateway towards the student."""

    @property
    def base_url(self) -> str:
        """Where the gateway finds the student server."""
        return self.url or f"http://{self.host}:{self.port}"


class RoleSettings(Section):
    """Where a role that serves nobody shows its health and its metrics."""

    host: str = "127.0.0.1"
    """Address to bind."""
    port: int = Field(0, ge=0, le=65535)
    """Port to bind; 0 takes a free one."""


class ShadowRoleSettings(RoleSettings):
    """The shadow worker."""

    port: int = Field(8083, ge=0, le=65535)
    """Port of its `/healthz` and `/metrics`; 0 takes a free one."""


class RedisSettings(Section):
    """The journal's Redis."""

    url: str | None = None
    """A Redis server; by default one is started on this machine."""
    port: int = Field(6479, ge=1, le=65535)
    """Port of the server that `tutelage up` starts."""
    stream_bytes: int = Field(256 * 1024 * 1024, ge=1024 * 1024)
    """A stream is trimmed, behind the archive, past this size."""

    @property
    def address(self) -> str:
        """The URL to connect to."""
        return self.url or f"redis://127.0.0.1:{self.port}/0"


class ArchiveSettings(Section):
    """The archive."""

    url: str | None = None
    """Any fsspec URL or folder; by default `archive` in the state folder."""
    flush_seconds: float = Field(2.0, gt=0)
    """The longest that a record waits before it is archived."""
    flush_rows: int = Field(20_000, ge=1)
    """Rows of one Parquet file at most."""


class LedgerSettings(Section):
    """The ledger."""

    url: str | None = None
    """An SQLAlchemy URL (SQLite or PostgreSQL); by default `ledger.db` in the state folder."""


class RegistrySettings(Section):
    """The model registry (MLflow)."""

    url: str | None = None
    """MLflow tracking and registry URI; by default SQLite in the state folder."""


class MonitorSettings(Section):
    """The monitor role."""

    host: str = "127.0.0.1"
    """Address to bind for its metrics."""
    port: int = Field(8084, ge=0, le=65535)
    """Port to bind for its metrics."""
    snapshot_seconds: float = Field(5.0, gt=0)
    """How often its statistics are written down, with how far it has read; metrics are drawn up as often."""
