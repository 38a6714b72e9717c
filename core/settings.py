"""Settings: one `tutelage.yaml`, plus the environment (`TUTELAGE_GATEWAY__PORT=9000`), which wins.

An unknown key is an error that names the nearest valid one. Secrets never stand in the file: settings hold the *name*
of the environment variable that holds a key. Paths are relative to the file's folder.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from core.errors import SettingsError
from core.labels import LabelSet
from core.templates import Template, compile_template

_PREFIX = "TUTELAGE_"
_NOT_SETTINGS = {"log_level"}
_TASK_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Timeouts(_Section):
    """The four time-outs of an upstream, in seconds."""

    connect: float = 2.0
    """To open a connection."""
    read: float = 60.0
    """Between two pieces of an answer."""
    write: float = 10.0
    """To send the request."""
    pool: float = 2.0
    """To get a connection from the pool."""


class GatewaySettings(_Section):
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


class LogSettings(_Section):
    """The local log that the gateway's workers write."""

    fsync: bool = False
    """Force every record to disk. Off, a record survives a killed process, not a lost machine."""
    segment_bytes: int = Field(16 * 1024 * 1024, ge=4096)
    """A segment is closed at this size."""
    max_bytes: int = Field(2 * 1024 * 1024 * 1024, ge=1024 * 1024)
    """Upper bound of the log on disk; past it records are dropped and counted."""


class StudentSettings(_Section):
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


class RedisSettings(_Section):
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


class ArchiveSettings(_Section):
    """The archive."""

    url: str | None = None
    """Any fsspec URL or folder; by default `archive` in the state folder."""
    flush_seconds: float = Field(2.0, gt=0)
    """The longest that a record waits before it is archived."""
    flush_rows: int = Field(20_000, ge=1)
    """Rows of one Parquet file at most."""


class LedgerSettings(_Section):
    """The ledger."""

    url: str | None = None
    """An SQLAlchemy URL (SQLite or PostgreSQL); by default `ledger.db` in the state folder."""


class RegistrySettings(_Section):
    """The model registry (MLflow)."""

    url: str | None = None
    """MLflow tracking and registry URI; by default SQLite in the state folder."""


class TemplateMessage(_Section):
    """One message of a prompt template."""

    role: str
    """Role of the message: system, user, assistant."""
    content: str
    """Its text, with named holes such as `{text}`."""


class TemplateSettings(_Section):
    """One prompt template."""

    name: str = "default"
    """Its name; the version is a hash of its content."""
    messages: Annotated[list[TemplateMessage], Field(min_length=1)]
    """The messages that a request must consist of."""


class LinearProbeSettings(_Section):
    """A teacher that Tutelage makes and serves itself: a frozen sentence encoder with a head fitted on labels."""

    encoder: str
    """Folder of the encoder (Hugging Face layout), or `package:path` inside an installed Python package."""
    examples: list[Path]
    """CSV or JSONL with `text` and `label`: the labelled examples to fit the head on."""


class TeacherSettings(_Section):
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


class DistilSettings(_Section):
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


class TrustSettings(_Section):
    """When the student may answer."""

    min_confidence: float = Field(0.5, ge=0, le=1)
    """Below this calibrated confidence the teacher answers (`low_confidence`)."""
    min_agreement: float = Field(0.75, ge=0, le=1)
    """A class is trusted where the student's agreement with the teacher on it, shrunk towards the overall one, reaches
    this."""
    min_examples: int = Field(5, ge=1)
    """A class with fewer held-out examples is not trusted."""


class PrivacySettings(_Section):
    """What is stored of a task's exchanges."""

    store: Literal["full", "none"] = "full"
    """`full`: inputs and outputs; `none`: neither. Without inputs nothing can be distilled from traffic."""


class DataSettings(_Section):
    """Files of a task."""

    prompts: list[Path] = []
    """CSV or JSONL with `text` (and `label`, which is ignored): prompts for the teacher to label."""
    labelled: list[Path] = []
    """CSV or JSONL with `text` and `label`: known truth."""
    evaluation: list[Path] = []
    """CSV or JSONL with `text` and `label`: kept for evaluation, never trained on."""


class TaskSettings(_Section):
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


class Settings(BaseSettings):
    """Everything that Tutelage is told."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix=_PREFIX,
        env_nested_delimiter="__",
        use_attribute_docstrings=True,
    )

    version: Literal[1] = 1
    """Version of the file's format."""
    state: Path = Path(".tutelage")
    """Folder for everything that is kept on this machine."""
    gateway: GatewaySettings = GatewaySettings()
    """The gateway."""
    log: LogSettings = LogSettings()
    """The local log."""
    student: StudentSettings = StudentSettings()
    """The student server."""
    redis: RedisSettings = RedisSettings()
    """The journal."""
    archive: ArchiveSettings = ArchiveSettings()
    """The archive."""
    ledger: LedgerSettings = LedgerSettings()
    """The ledger."""
    registry: RegistrySettings = RegistrySettings()
    """The model registry."""
    tasks: dict[Annotated[str, Field(pattern=_TASK_NAME)], TaskSettings]
    """The tasks, by name."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  # the signature is pydantic's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file, which arrives as init arguments."""
        return env_settings, init_settings

    @model_validator(mode="after")
    def _names_are_unique(self) -> Settings:
        if not self.tasks:
            raise ValueError("there is no task; add one under `tasks`, or let `tutelage init` write it")
        seen: dict[str, str] = {}
        for task, task_settings in self.tasks.items():
            for name in (task, *task_settings.aliases):
                if name in seen:
                    raise ValueError(f"the model name {name!r} is used by {seen[name]!r} and by {task!r}")
                seen[name] = task
        return self

    @property
    def log_folder(self) -> Path:
        """Where the gateway's workers keep their logs."""
        return self.state / "log"

    @property
    def students_folder(self) -> Path:
        """Where the student server keeps its copies and the last-known-good pointers."""
        return self.state / "students"

    @property
    def archive_url(self) -> str:
        """The archive's fsspec URL or folder."""
        return self.archive.url or str(self.state / "archive")

    @property
    def ledger_url(self) -> str:
        """The ledger's SQLAlchemy URL."""
        return self.ledger.url or f"sqlite:///{self.state / 'ledger.db'}"

    @property
    def registry_url(self) -> str:
        """MLflow's URI."""
        return self.registry.url or f"sqlite:///{self.state / 'registry.db'}"

    def task(self, name: str) -> TaskSettings:
        """A task by name. Raises SettingsError that names the nearest one."""
        if name not in self.tasks:
            raise SettingsError(f"there is no task {name!r}; {_suggest(name, self.tasks)}")
        return self.tasks[name]


def load_settings(path: Path) -> Settings:
    """Read `path` and the environment.

    Raises SettingsError, in one line that says where and how to mend it.
    """
    document = _read_yaml(path)
    _refuse_unknown_environment()
    try:
        settings = Settings(**document)
    except ValidationError as error:
        raise SettingsError(f"{path}: {_explain(error)}") from error
    return _anchored(settings, path.resolve().parent)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SettingsError(
            f"{path}: no such file; write one with `tutelage init`, or name it with --config"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read ({error})") from error
    except yaml.YAMLError as error:
        raise SettingsError(f"{path}: is not valid YAML ({' '.join(str(error).split())})") from error
    if not isinstance(document, dict):
        raise SettingsError(f"{path}: must hold a mapping with `tasks`")
    return document


def _refuse_unknown_environment() -> None:
    for name in os.environ:
        if name.upper().startswith(_PREFIX):
            section = name[len(_PREFIX) :].split("__")[0].lower()
            if section not in Settings.model_fields and section not in _NOT_SETTINGS:
                raise SettingsError(
                    f"environment variable {name}: no setting {section!r}; {_suggest(section, Settings.model_fields)}"
                )


def _explain(error: ValidationError) -> str:
    # A misspelt key often leaves another one missing: the misspelling is the cause, so it is told first.
    first = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        key = str(first["loc"][-1])
        return f"unknown key {where!r}; {_suggest(key, _fields_at(first['loc'][:-1]))}"
    message = first["msg"].removeprefix("Value error, ")
    return f"{where}: {message}" if where else message


def _fields_at(location: tuple[int | str, ...]) -> list[str]:
    """Field names that are valid at a location of the settings."""
    model: Any = Settings
    for part in location:
        field = model.model_fields.get(str(part)) if isinstance(model, type) and issubclass(model, BaseModel) else None
        model = _inner_model(field.annotation if field is not None else model)
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []


def _inner_model(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _inner_model(argument)
        if found is not None:
            return found
    return None


def _suggest(name: str, valid: Any) -> str:
    found = difflib.get_close_matches(name, list(valid), n=1, cutoff=0.5)
    return f"did you mean {found[0]!r}?" if found else f"valid are {', '.join(sorted(valid))}"


def _compile(template: TemplateSettings) -> Template:
    return compile_template(template.name, [(message.role, message.content) for message in template.messages])


def _anchored(settings: Settings, folder: Path) -> Settings:
    """Resolve the paths of data files against the settings file's folder, and `state` against the working folder."""
    tasks = {name: _anchored_task(task, folder) for name, task in settings.tasks.items()}
    return settings.model_copy(update={"tasks": tasks, "state": settings.state.resolve()})


def _anchored_task(task: TaskSettings, folder: Path) -> TaskSettings:
    data = {name: [folder / path for path in getattr(task.data, name)] for name in DataSettings.model_fields}
    update: dict[str, Any] = {"data": task.data.model_copy(update=data)}
    probe = task.teacher.linear_probe
    if probe is not None:
        anchored = probe.model_copy(update={"examples": [folder / path for path in probe.examples]})
        update["teacher"] = task.teacher.model_copy(update={"linear_probe": anchored})
    return task.model_copy(update=update)
