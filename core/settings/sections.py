"""The sections of the settings: records whose fields describe themselves, of which `docs/configuration.md` is made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from core.labels import LabelSet
from core.templates import Template, compile_template


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


class TemplateMessage(Section):
    """One message of a prompt template."""

    role: str
    """Role of the message: system, user, assistant."""
    content: str
    """Its text, with named holes such as `{text}`."""


class TemplateSettings(Section):
    """One prompt template."""

    name: str = "default"
    """Its name; the version is a hash of its content."""
    messages: Annotated[list[TemplateMessage], Field(min_length=1)]
    """The messages that a request must consist of."""


class LinearProbeSettings(Section):
    """A teacher that Tutelage makes and serves itself: a frozen sentence encoder with a head fitted on labels."""

    encoder: str
    """Folder of the encoder (Hugging Face layout), or `package:path` inside an installed Python package."""
    examples: list[Path]
    """CSV or JSONL with `text` and `label`: the labelled examples to fit the head on."""


class TeacherSettings(Section):
    """The teacher: any OpenAI-compatible endpoint."""

    base_url: str
    """Its base URL, ending in /v1 as for OpenAI's clients."""
    model: str
    """Name of the model there."""
    api_key_env: str | None = None
    """Name of the environment variable that holds the key."""
    ask: Literal["forward", "choose"] = "forward"
    """`forward`: requests go to it untouched but for the model's name, and it answers with a label by itself.
    `choose`: it is an LLM that knows nothing of the labels; it is asked to choose among numbered labels."""
    instructions: str = ""
    """What the labels mean, for `choose`: put before the numbered list."""
    may_train: bool = False
    """Whether the provider's terms allow that its answers train a model. Without it nothing is distilled."""
    data_may_leave: bool = False
    """Whether this task's data may be sent to the teacher outside the client's own requests (labelling, shadow)."""
    max_concurrency: int = Field(8, ge=1, le=1024)
    """Calls under way at once when labelling."""
    timeouts: Timeouts = Timeouts()
    """Time-outs towards the teacher."""
    input_price: float | None = Field(None, ge=0)
    """Dollars a million input tokens; by default what `genai-prices` knows of the model."""
    output_price: float | None = Field(None, ge=0)
    """Dollars a million output tokens."""
    linear_probe: LinearProbeSettings | None = None
    """Have `tutelage up` fit and serve this teacher at `base_url` (the bundled example does)."""


class DistilSettings(Section):
    """How the student of a task is distilled."""

    architecture: Literal["ngram", "encoder"] = "ngram"
    """`ngram`: hashed n-grams, microseconds on a CPU. `encoder`: a Hugging Face sequence classifier."""
    encoder: str | None = None
    """For `encoder`: the folder, or `package:path`, of the model to start from."""
    encoder_layers: int = Field(3, ge=1, le=48)
    """For `encoder`: keep this many of its first layers."""
    temperature: float = Field(2.0, gt=0)
    """Temperature of logit matching."""
    epochs: int | None = Field(None, ge=1)
    """Passes over the data; by default as fits the architecture."""
    seed: int = 0
    """Seed of everything random."""


class TrustSettings(Section):
    """When the student may answer."""

    min_confidence: float = Field(0.5, ge=0, le=1)
    """Below this calibrated confidence the teacher answers (`low_confidence`)."""
    min_agreement: float = Field(0.75, ge=0, le=1)
    """A class is trusted where the student's agreement with the teacher on it, shrunk towards the overall one, reaches
    this."""
    min_examples: int = Field(5, ge=1)
    """A class with fewer held-out examples is not trusted."""


class PrivacySettings(Section):
    """What is stored of a task's exchanges."""

    store: Literal["full", "none"] = "full"
    """`full`: inputs and outputs; `none`: neither. Without inputs nothing can be distilled from traffic."""


class DataSettings(Section):
    """Files of a task."""

    prompts: list[Path] = []
    """CSV or JSONL with `text` (and `label`, which is ignored): prompts for the teacher to label."""
    labelled: list[Path] = []
    """CSV or JSONL with `text` and `label`: known truth."""
    evaluation: list[Path] = []
    """CSV or JSONL with `text` and `label`: kept for evaluation, never trained on."""


class TaskSettings(Section):
    """One task: a named job that clients address as `model`."""

    kind: Literal["classification"] = "classification"
    """Kind of the task."""
    labels: Annotated[list[str], Field(min_length=2)]
    """The labels, in a fixed order."""
    aliases: list[str] = []
    """Further model names under which clients may ask for this task, for example `gpt-4o`."""
    templates: list[TemplateSettings] = [
        TemplateSettings(messages=[TemplateMessage(role="user", content="{text}")]),
    ]
    """Prompt templates that the student can read."""
    teacher: TeacherSettings
    """The teacher."""
    distil: DistilSettings = DistilSettings()
    """How the student is distilled."""
    trust: TrustSettings = TrustSettings()
    """When the student may answer."""
    privacy: PrivacySettings = PrivacySettings()
    """What is stored."""
    data: DataSettings = DataSettings()
    """Files."""

    @field_validator("labels")
    @classmethod
    def _labels_differ(cls, labels: list[str]) -> list[str]:
        LabelSet(labels)
        return labels

    @field_validator("templates")
    @classmethod
    def _templates_compile(cls, templates: list[TemplateSettings]) -> list[TemplateSettings]:
        for template in templates:
            _compile(template)
        return templates

    def label_set(self) -> LabelSet:
        """The labels with their version."""
        return LabelSet(self.labels)

    def compiled_templates(self) -> tuple[Template, ...]:
        """The prompt templates, ready to match."""
        return tuple(_compile(template) for template in self.templates)


def _compile(template: TemplateSettings) -> Template:
    return compile_template(template.name, [(message.role, message.content) for message in template.messages])
