"""The sections about roles and stores: records whose fields describe themselves.

`docs/configuration.md` is made of these descriptions, and of those in `core/settings/task.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


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


class BreakerSettings(Section):
    """When a failing replica of an upstream is left alone, and for how long."""

    consecutive_failures: int = Field(5, ge=1)
    """It is left alone after so many failures in a row."""
    failure_ratio: float = Field(0.5, gt=0, le=1)
    """Or where this share of its requests has failed within `window_seconds`."""
    min_requests: int = Field(20, ge=1)
    """But the share counts only over so many requests at least."""
    window_seconds: float = Field(30.0, gt=0)
    """Over how long the share is taken."""
    open_seconds: float = Field(1.0, gt=0)
    """How long it is left alone the first time; twice as long each time that it fails again."""
    max_open_seconds: float = Field(30.0, gt=0)
    """The longest that it is left alone."""
    probes: int = Field(3, ge=1)
    """So many requests are then let through, and all must succeed before it serves as before."""


class RetrySettings(Section):
    """When a request is sent once more: never where the upstream may have worked on it."""

    attempts: int = Field(2, ge=1, le=10)
    """How often one request is sent at most. 1: nothing is retried."""
    share: float = Field(0.2, ge=0, le=1)
    """Retries may be this share of the requests of the last `window_seconds`."""
    minimum: int = Field(10, ge=0)
    """And so many more, so that little traffic has retries as well."""
    window_seconds: float = Field(10.0, gt=0)
    """Over how long the share is taken."""


class GatewaySettings(Section):
    """The gateway."""

    host: str = "127.0.0.1"
    """Address to bind. Anything but loopback needs an API key (`tutelage keys create`)."""
    port: int = Field(8080, ge=0, le=65535)
    """Port to bind; 0 takes a free one."""
    max_body_bytes: int = Field(4 * 1024 * 1024, ge=1024)
    """Larger bodies are refused with 413."""
    workers: int = Field(1, ge=1, le=256)
    """Processes that serve, one for each core that the gateway may use. `tutelage gateway --workers N` sets it too."""
    max_in_flight: int = Field(1024, ge=1)
    """Requests under way in one worker; more are shed at once with 429."""
    deadline_seconds: float = Field(120.0, gt=0)
    """A request that has no answer by then ends with 504."""
    read_seconds: float = Field(30.0, gt=0)
    """How long a client may take to send its request; then it gets 408."""
    write_seconds: float = Field(60.0, gt=0)
    """How long a client may take in nothing of its answer; then it is cut off."""
    student_seconds: float = Field(5.0, gt=0)
    """How long the student has; then the teacher is asked in its stead (`over_deadline`)."""
    refresh_seconds: float = Field(1.0, gt=0)
    """How often trust and the student's health are read anew."""
    drain_seconds: float = Field(10.0, ge=0)
    """How long a stopping worker waits for requests under way."""
    limits_without_redis: Literal["open", "closed"] = "open"
    """What holds for rate limits and budgets while Redis is away. `open`: each worker keeps them by itself alone.
    `closed`: a worker uses up what it has been leased, then answers 503 to whoever has a limit."""


class TracingSettings(Section):
    """OpenTelemetry traces of the gateway. They never hold anything of what was asked or answered."""

    otlp_endpoint: str | None = None
    """Base URL of a collector that speaks OTLP over HTTP, such as http://127.0.0.1:4318; spans go to `/v1/traces`
    below it. Nothing is traced without it. Headers that it asks for stand in `OTEL_EXPORTER_OTLP_HEADERS`."""
    service_name: str = "tutelage-gateway"
    """What the gateway is called in traces."""
    sample_share: float = Field(1.0, ge=0, le=1)
    """Share of requests that are traced; where a client has decided that for its trace (`traceparent`), that holds."""


class LogSettings(Section):
    """The local log that the gateway's workers write."""

    fsync: bool = False
    """Force every record to disk. Off, a record survives a killed process, not a lost machine."""
    segment_bytes: int = Field(16 * 1024 * 1024, ge=4096)
    """A segment is closed at this size."""
    max_bytes: int = Field(2 * 1024 * 1024 * 1024, ge=1024 * 1024)
    """Upper bound of the log on disk, which all workers share; past it records are dropped and counted. Several workers
    may pass it by a segment each. From nine tenths of it on, the oldest segments that are shipped are deleted, archived
    or not: a tenth of it should hold a few seconds of traffic."""
    min_free_bytes: int = Field(128 * 1024 * 1024, ge=0)
    """The log leaves so much of its disk free: with less, records are dropped and counted. With less than twice as
    much, the oldest segments that are shipped are deleted."""


class StudentSettings(Section):
    """The student server."""

    host: str = "127.0.0.1"
    """Address to bind."""
    port: int = Field(8081, ge=0, le=65535)
    """Port to bind."""
    url: str | None = None
    """Where the gateway finds it; by default http://host:port."""
    urls: list[str] = []
    """The same for several replicas: the one with the fewest requests under way is asked. Instead of `url`."""
    max_batch: int = Field(64, ge=1, le=4096)
    """Most texts in one batch."""
    max_queue: int = Field(2048, ge=1)
    """Texts waiting; more are shed with 429."""
    poll_seconds: float = Field(2.0, gt=0)
    """How often the registry is asked for a new champion."""
    timeouts: Timeouts = Timeouts(connect=1.0, read=10.0, write=2.0, pool=1.0)
    """Time-outs of the gateway towards the student."""
    breaker: BreakerSettings = BreakerSettings()
    """When a replica is left alone."""
    retry: RetrySettings = RetrySettings()
    """When a request is sent once more."""

    @model_validator(mode="after")
    def _one_way_to_say_where(self) -> StudentSettings:
        if self.url is not None and self.urls:
            raise ValueError("url and urls both say where the student is; put all of them into urls")
        return self

    @property
    def base_url(self) -> str:
        """Where a single student server is found; the first of several."""
        return self.base_urls[0]

    @property
    def base_urls(self) -> list[str]:
        """Where the gateway finds the student's replicas: at least one."""
        return self.urls or [self.url or f"http://{self.host}:{self.port}"]


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
    """A stream is trimmed, behind the archive, past this size. At twice this size, shipping waits for the archive, and
    the log on disk takes what comes."""

    @property
    def address(self) -> str:
        """The URL to connect to."""
        return self.url or f"redis://127.0.0.1:{self.port}/0"


class ArchiveSettings(Section):
    """The archive, and the archiver's `/healthz` and `/metrics`."""

    host: str = "127.0.0.1"
    """Address to bind."""
    port: int = Field(0, ge=0, le=65535)
    """Port to bind; 0 takes a free one, which the archiver's log names."""
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


class NotifySettings(Section):
    """Who is told about alarms, and how. Without any of the channels nobody is; `tutelage alarms` shows all of them."""

    alertmanager_url: str | None = None
    """Base URL of an Alertmanager, such as http://127.0.0.1:9093: alarms are posted to its `/api/v2/alerts`."""
    alertmanager_authorization_env: str | None = None
    """Name of the environment variable with the value of the `Authorization` header that it asks for."""
    resend_seconds: float = Field(60.0, gt=0)
    """How often Alertmanager is told again of open alarms. It takes an alarm of which it has not heard for four times
    as long for over."""
    apprise_urls_env: str | None = None
    """Name of the environment variable with URLs of Apprise, separated by spaces or line breaks: Slack, mail,
    PagerDuty, webhooks and a hundred more (https://appriseit.com/services/). They hold secrets, so they do not stand
    here."""
    apprise_urls_file: Path | None = None
    """A file with such URLs, one a line; `#` begins a comment."""
    link: str | None = None
    """Where a person finds an alarm, with `{id}` for its id, such as https://tutelage.example.org/alarms/{id}. By
    default messages name the command that shows it."""
    examples: bool = False
    """Whether messages quote exchanges, where `privacy.store: full` lets them be kept."""

    @field_validator("alertmanager_url")
    @classmethod
    def _url_holds_no_secret(cls, url: str | None) -> str | None:
        if url is not None and "@" in url.partition("://")[2].partition("/")[0]:
            raise ValueError("it holds a user or password; name a variable with them in alertmanager_authorization_env")
        return url

    @field_validator("link")
    @classmethod
    def _link_has_one_hole(cls, link: str | None) -> str | None:
        if link is not None and "{id}" not in link:
            raise ValueError("it holds no {id}; write it where the alarm's id belongs")
        return link
