"""Reading the settings, and explaining what is wrong with them in one line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from core.errors import SettingsError
from core.settings.root import PREFIX, Settings
from core.settings.suggest import suggest
from core.settings.task import (
    DataSettings,
    TaskSettings,
)

_NOT_SETTINGS = {"log_level"}
"""Environment variables that others read."""


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
        if name.upper().startswith(PREFIX):
            section = name[len(PREFIX) :].split("__")[0].lower()
            if section not in Settings.model_fields and section not in _NOT_SETTINGS:
                raise SettingsError(
                    f"environment variable {name}: no setting {section!r}; {suggest(section, Settings.model_fields)}"
                )


def _explain(error: ValidationError) -> str:
    # A misspelt key often leaves another one missing: the misspelling is the cause, so it is told first.
    first = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        key = str(first["loc"][-1])
        return f"unknown key {where!r}; {suggest(key, _fields_at(first['loc'][:-1]))}"
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


def _anchored(settings: Settings, folder: Path) -> Settings:
    """Resolve the paths of data files against the settings file's folder, and `state` against the working folder."""
    tasks = {name: _anchored_task(task, folder) for name, task in settings.tasks.items()}
    update: dict[str, Any] = {"tasks": tasks, "state": settings.state.resolve()}
    urls = settings.notify.apprise_urls_file
    if urls is not None:
        update["notify"] = settings.notify.model_copy(update={"apprise_urls_file": folder / urls})
    return settings.model_copy(update=update)


def _anchored_task(task: TaskSettings, folder: Path) -> TaskSettings:
    data = {name: [folder / path for path in getattr(task.data, name)] for name in DataSettings.model_fields}
    update: dict[str, Any] = {"data": task.data.model_copy(update=data)}
    if task.watch.golden:
        update["watch"] = task.watch.model_copy(update={"golden": [folder / path for path in task.watch.golden]})
    probe = task.teacher.linear_probe
    if probe is not None:
        anchored = probe.model_copy(update={"examples": [folder / path for path in probe.examples]})
        update["teacher"] = task.teacher.model_copy(update={"linear_probe": anchored})
    return task.model_copy(update=update)
