"""The settings as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from core.errors import SettingsError
from core.settings.passthrough import PassthroughSettings
from core.settings.sections import (
    ArchiveSettings,
    GatewaySettings,
    LedgerSettings,
    LogSettings,
    MonitorSettings,
    NotifySettings,
    RedisSettings,
    RegistrySettings,
    ShadowRoleSettings,
    StudentSettings,
    TracingSettings,
)
from core.settings.suggest import suggest
from core.settings.task import (
    TaskSettings,
)

PREFIX = "TUTELAGE_"
"""What the names of environment variables begin with."""

PASSTHROUGH = "passthrough"
"""Under this name exchanges of models that are no task are counted and recorded."""

_TASK_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"


class Settings(BaseSettings):
    """Everything that Tutelage is told."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        use_attribute_docstrings=True,
    )

    version: Literal[1] = 1
    """Version of the file's format."""
    state: Path = Path(".tutelage")
    """Folder for everything that is kept on this machine."""
    gateway: GatewaySettings = GatewaySettings()
    """The gateway."""
    tracing: TracingSettings = TracingSettings()
    """Traces."""
    log: LogSettings = LogSettings()
    """The local log."""
    student: StudentSettings = StudentSettings()
    """The student server."""
    shadow: ShadowRoleSettings = ShadowRoleSettings()
    """The shadow worker."""
    monitor: MonitorSettings = MonitorSettings()
    """The monitor."""
    notify: NotifySettings = NotifySettings()
    """Notifications about alarms."""
    redis: RedisSettings = RedisSettings()
    """The journal."""
    archive: ArchiveSettings = ArchiveSettings()
    """The archive."""
    ledger: LedgerSettings = LedgerSettings()
    """The ledger."""
    registry: RegistrySettings = RegistrySettings()
    """The model registry."""
    passthrough: PassthroughSettings | None = None
    """Where requests go whose model is no task; by default they are a 404."""
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
        if PASSTHROUGH in self.tasks:
            raise ValueError(f"no task may be called {PASSTHROUGH!r}: what is no task is recorded under this name")
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
    def shadow_log_folder(self) -> Path:
        """Where the shadow workers keep theirs."""
        return self.state / "shadow-log"

    @property
    def sampling_key(self) -> Path:
        """The secret that decides which exchanges are sampled."""
        return self.state / "gateway" / "sampling.key"

    @property
    def keys_file(self) -> Path:
        """Where the gateway keeps the last known API keys (their digests), to start without the ledger."""
        return self.state / "gateway" / "keys.json"

    @property
    def templates_file(self) -> Path:
        """Where the roles keep the last known accepted templates, to start without the ledger."""
        return self.state / "templates.json"

    @property
    def privacy_key(self) -> Path:
        """The secret of the hashes that stand for texts and users; gateways that work together share it."""
        return self.state / "gateway" / "privacy.key"

    @property
    def labels_folder(self) -> Path:
        """Where labelled examples and the teacher's answers are kept."""
        return self.state / "labels"

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

    @property
    def retention_days(self) -> dict[str, int]:
        """For how many days the records of a task are kept; tasks that keep them for good are left out."""
        days = {name: task.privacy.retention_days for name, task in self.tasks.items()}
        return {name: limit for name, limit in days.items() if limit is not None}

    def task(self, name: str) -> TaskSettings:
        """A task by name. Raises SettingsError that names the nearest one."""
        if name not in self.tasks:
            raise SettingsError(f"there is no task {name!r}; {suggest(name, self.tasks)}")
        return self.tasks[name]
