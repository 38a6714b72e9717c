"""The configuration reference, made from the settings' own descriptions: `python -m tutelage.reference > FILE`."""

from __future__ import annotations

import sys
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from core.settings import Settings, TaskSettings

_HEAD = """# Configuration

One file, `tutelage.yaml`, plus the environment, which wins: `TUTELAGE_GATEWAY__PORT=9000` sets `gateway.port`. An
unknown key is an error that names the nearest valid one. Secrets never stand in the file: settings hold the *name* of
the environment variable that holds a key. Data files are relative to the settings file's folder, `state` to the working
folder. `TUTELAGE_LOG_LEVEL` sets how much the roles log.

This page is made from `core/settings/` by `python -m tutelage.reference`; a test keeps the two in step.
"""


def render() -> str:
    """The whole page, as Markdown."""
    tasks = "tasks.<name>"
    sections = [_HEAD, *_section("", Settings), *_section(tasks, TaskSettings)]
    return "\n".join(sections)


def _section(path: str, model: type[BaseModel], defaults: BaseModel | None = None) -> list[str]:
    """The tables of a section and of those below it; `defaults` is what it holds where nothing is said."""
    rows: list[str] = []
    inner: list[tuple[str, type[BaseModel], BaseModel | None]] = []
    for name, field in model.model_fields.items():
        full = f"{path}.{name}" if path else name
        nested = _nested(field.annotation)
        if nested is TaskSettings:
            continue
        if nested is not None:
            given = field.default if isinstance(field.default, BaseModel) else None
            inner.append((full, nested, given))
        else:
            rows.append(
                f"| `{name}` | {_type(field.annotation)} | {_default(name, field, defaults)} | {_text(field)} |"
            )
    lines = [f"## {_title(path)}", ""]
    if rows:
        lines += ["| key | type | default | meaning |", "| --- | --- | --- | --- |", *rows, ""]
    for full, nested, given in inner:
        lines += _section(full, nested, given)
    return lines if rows else lines[2:]


def _title(path: str) -> str:
    return f"`{path}`" if path else "Top level"


def _nested(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for argument in get_args(annotation) if (found := _nested(argument)) is not None), None)


def _type(annotation: Any) -> str:
    if isinstance(annotation, type) and not get_args(annotation):
        return annotation.__name__
    if str(annotation).startswith("typing.Literal"):
        return " or ".join(f"`{value}`" for value in get_args(annotation))
    return str(annotation).replace("typing.", "").replace("pathlib.", "").replace(" | None", " or nothing")


def _default(name: str, field: FieldInfo, defaults: BaseModel | None) -> str:
    if defaults is not None:
        return f"`{getattr(defaults, name)}`"
    if field.is_required() or field.default is PydanticUndefined:
        return "required"
    return "" if field.default is None else f"`{field.default}`"


def _text(field: FieldInfo) -> str:
    return " ".join((field.description or "").split()).replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(render() + "\n")
