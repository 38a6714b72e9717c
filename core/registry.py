"""The model registry: students' versions and their aliases `champion` and `challenger`, kept in MLflow.

A version is an MLflow run whose artifacts are the student's folder, so MLflow's own pages show it with its metrics.
MLflow is imported when a `Registry` is made, never before: it takes seconds, and only trainer and student server need
it.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from core.errors import RegistryError
from core.models.folder import install_folder, read_card, verify_folder
from core.telemetry import silence_third_parties

_ARTIFACT: Final = "student"
_LOCAL: Final = ("sqlite:", "file:")


@dataclass(frozen=True, slots=True)
class StudentVersion:
    """One registered version of a task's student."""

    version: str
    """Its number, as text."""
    created: float
    """Seconds since the epoch."""
    aliases: tuple[str, ...]
    """`champion`, `challenger`, or neither."""
    tags: dict[str, str]
    """What the trainer noted."""
    metrics: dict[str, float]
    """From its card."""


class Registry:
    """A task's students. Thread-safe, as MLflow's client is; every method may block."""

    def __init__(self, url: str, artifacts: Path) -> None:
        """Connect to MLflow at `url`. `artifacts` holds the folders where the registry is a local SQLite file.

        Raises RegistryError where it cannot be opened.
        """
        silence_third_parties()
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        self._url = url
        self._artifacts = artifacts
        with warnings.catch_warnings(), self._translated("be opened"):
            warnings.simplefilter("ignore")  # deprecations between MLflow and its own dependencies
            from mlflow import MlflowClient

            for name in ("mlflow", "alembic"):
                logging.getLogger(name).setLevel(logging.ERROR)  # a page about migrations on first use
            if url.startswith("sqlite:///"):
                Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
            self._client: Any = MlflowClient(tracking_uri=url, registry_uri=url)

    def register(self, task: str, folder: Path, tags: dict[str, str]) -> str:
        """Upload a student's folder as the next version of `task`; return the version.

        Raises ModelFolderError where the folder is damaged, RegistryError where MLflow refuses.
        """
        digest = verify_folder(folder)
        card = read_card(folder)
        with self._translated(f"register a student for {task!r}"):
            run = self._client.create_run(self._experiment(task), run_name=f"{task}-{card.architecture}")
            run_id = run.info.run_id
            for name, value in card.metrics.items():
                self._client.log_metric(run_id, name, value)
            self._client.log_artifacts(run_id, str(folder), _ARTIFACT)
            self._client.set_terminated(run_id)
            self._create_model(task)
            source = f"{run.info.artifact_uri.rstrip('/')}/{_ARTIFACT}"
            all_tags = {**tags, "tutelage.digest": digest, "tutelage.label_set": card.label_set}
            return str(self._client.create_model_version(task, source, run_id, tags=all_tags).version)

    def set_alias(self, task: str, alias: str, version: str | None) -> None:
        """Point `alias` of `task` at `version`, or at nothing."""
        with self._translated(f"set {alias!r} of {task!r}"):
            if version is None:
                self._client.delete_registered_model_alias(task, alias)
            else:
                self._client.get_model_version(task, version)
                self._client.set_registered_model_alias(task, alias, version)

    def version_of(self, task: str, alias: str) -> str | None:
        """The version that `alias` of `task` points at, or None where there is none."""
        return (self.aliases(task) or {}).get(alias)

    def aliases(self, task: str) -> dict[str, str] | None:
        """All aliases of `task` with their versions; None where the task has never been registered."""
        with self._translated(f"read the aliases of {task!r}"):
            model = self._model(task)
            return None if model is None else {alias: str(version) for alias, version in model.aliases.items()}

    def versions(self, task: str) -> list[StudentVersion]:
        """All versions of `task`, the oldest first."""
        with self._translated(f"list the students of {task!r}"):
            model = self._model(task)
            if model is None:
                return []
            by_version: dict[str, list[str]] = {}
            for alias, version in model.aliases.items():
                by_version.setdefault(str(version), []).append(alias)
            escaped = task.replace("'", "\\'")
            found = [self._describe(entry, by_version) for entry in self._search(f"name='{escaped}'")]
        return sorted(found, key=lambda version: int(version.version))

    def fetch(self, task: str, version: str, destination: Path) -> Path:
        """Copy a version's folder to `destination`, whole or not at all; return it.

        Raises RegistryError where there is no such version, ModelFolderError where the copy is not what was registered.
        """
        destination.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{destination.name}-", dir=destination.parent))
        try:
            with self._translated(f"fetch version {version} of {task!r}"):
                from mlflow.artifacts import download_artifacts

                entry = self._client.get_model_version(task, version)
                download_artifacts(
                    run_id=entry.run_id, artifact_path=_ARTIFACT, dst_path=str(beside), tracking_uri=self._url
                )
            if verify_folder(beside / _ARTIFACT) != entry.tags.get("tutelage.digest"):
                raise RegistryError(
                    f"version {version} of {task!r} is no longer the folder that was registered; register it anew"
                )
            install_folder(beside / _ARTIFACT, destination)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        return destination

    def _experiment(self, task: str) -> str:
        name = f"tutelage/{task}"
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        location = None
        if self._url.startswith(_LOCAL):
            location = (self._artifacts / task).resolve().as_uri()
        return str(self._client.create_experiment(name, artifact_location=location))

    def _create_model(self, task: str) -> None:
        if self._model(task) is None:
            self._client.create_registered_model(task, description=f"Students of the task {task}")

    def _model(self, task: str) -> Any:
        from mlflow.exceptions import MlflowException

        try:
            return self._client.get_registered_model(task)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise

    def _search(self, query: str) -> Iterator[Any]:
        token: str | None = None
        while True:
            page = self._client.search_model_versions(query, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def _describe(self, entry: Any, aliases: dict[str, list[str]]) -> StudentVersion:
        version = str(entry.version)
        metrics = self._client.get_run(entry.run_id).data.metrics if entry.run_id else {}
        return StudentVersion(
            version=version,
            created=entry.creation_timestamp / 1000,
            aliases=tuple(sorted(aliases.get(version, ()))),
            tags=dict(entry.tags),
            metrics=dict(metrics),
        )

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        """Turn MLflow's, SQLAlchemy's and the network's errors into RegistryError, in one line."""
        try:
            yield
        except RegistryError:
            raise
        except Exception as error:
            if not _is_foreign(error):
                raise
            text = _without_password(" ".join(str(error).split())[:300])
            raise RegistryError(
                f"the model registry at {_without_password(self._url)} cannot {what}: {text}"
            ) from error


def _is_foreign(error: Exception) -> bool:
    """Whether MLflow or something below it raised: SQLAlchemy, requests, the system, or a driver not installed."""
    root = type(error).__module__.partition(".")[0]
    return root in {"mlflow", "sqlalchemy", "requests", "urllib3"} or isinstance(error, (OSError, ImportError))


def _without_password(url: str) -> str:
    return re.sub(r"//[^/@]*@", "//***@", url)
