"""Blue/green: the champion and the challenger of each task, and how one version follows another.

load -> warm up and probe -> switch the pointer between two requests -> drain the old version -> unload. Where any step
before the switch fails, the old version keeps answering.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np
import structlog

from core.errors import ModelFolderError, ModelNotFoundError, UnavailableError
from core.labels import LabelSet
from core.models.folder import load_student
from core.models.student import Student
from core.templates import Template
from server.batching import Batcher, Limits
from server.metrics import StudentMetrics

CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"
ALIASES: Final = (CHAMPION, CHALLENGER)

_PROBE: Final = (
    "",
    "hello",
    "Where is my order? It should have been here on Monday.",
    "ünïcödé 漢字 \U0001f600",
    "a " * 4_000,
)
_TOLERANCE: Final = 1e-3

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ServedTask:
    """What the server needs to know of a task."""

    name: str
    templates: tuple[Template, ...]
    """Prompt templates that the student can read."""
    labels: LabelSet | None = None
    """The task's labels, which a version must have; None where the folder alone decides."""
    model_names: tuple[str, ...] = ()
    """Further names under which it is asked for."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A version in memory."""

    version: str
    student: Student
    batcher: Batcher
    since: float


@dataclass(slots=True)
class _Slot:
    task: ServedTask
    aliases: dict[str, Loaded] = field(default_factory=dict)
    changing: asyncio.Lock = field(default_factory=asyncio.Lock)


class Versions:
    """The loaded versions of all tasks. Belongs to one event loop; reading is plain attribute access."""

    def __init__(self, tasks: Iterable[ServedTask], limits: Limits, metrics: StudentMetrics) -> None:
        self._slots = {task.name: _Slot(task) for task in tasks}
        self._names = {name: slot for slot in self._slots.values() for name in (slot.task.name, *slot.task.model_names)}
        self._limits = limits
        self._metrics = metrics

    @property
    def tasks(self) -> tuple[ServedTask, ...]:
        """All tasks, loaded or not."""
        return tuple(slot.task for slot in self._slots.values())

    @property
    def ready(self) -> bool:
        """Whether at least one task has a champion."""
        return any(CHAMPION in slot.aliases for slot in self._slots.values())

    def loaded(self, task: str) -> Mapping[str, Loaded]:
        """What is loaded for `task`, by alias."""
        return self._slots[task].aliases

    def find_task(self, model: str) -> ServedTask | None:
        """The task that a model's name means, with or without `@version`; None where there is none."""
        slot = self._names.get(model) or self._names.get(model.rpartition("@")[0])
        return slot.task if slot is not None else None

    def pick(self, model: str) -> Loaded:
        """The loaded version for `task`, `task@champion`, `task@challenger` or `task@<version>`.

        Raises ModelNotFoundError, or UnavailableError where the task has no champion yet.
        """
        slot, wanted = self._names.get(model), CHAMPION
        if slot is None:
            name, _, wanted = model.rpartition("@")
            slot = self._names.get(name)
        if slot is None:
            raise ModelNotFoundError(
                f"there is no model {model!r} here; the tasks are {', '.join(sorted(self._slots))}", param="model"
            )
        found = slot.aliases.get(wanted)
        if found is None:
            found = next((loaded for loaded in slot.aliases.values() if loaded.version == wanted), None)
        if found is not None:
            return found
        if wanted == CHAMPION:
            raise UnavailableError(f"the task {slot.task.name!r} has no champion yet; ask its teacher", retry_after=1.0)
        raise ModelNotFoundError(f"version {wanted!r} of {slot.task.name!r} is not loaded", param="model")

    def set_templates(self, task: str, templates: tuple[Template, ...]) -> None:
        """From the next request on, these are the prompt templates that the task's students can read."""
        slot = self._slots[task]
        slot.task = replace(slot.task, templates=templates)

    async def install(self, task: str, alias: str, version: str, folder: Path) -> Loaded:
        """Load `folder` as `version` and let it take over `alias`.

        Raises ModelFolderError where it cannot serve; whatever served before still does.
        """
        slot = self._slots[task]
        async with slot.changing:
            current = next((loaded for loaded in slot.aliases.values() if loaded.version == version), None)
            if current is None:
                student = await asyncio.to_thread(_load_and_probe, folder, slot.task)
                current = Loaded(version, student, Batcher(task, student, self._limits, self._metrics), time.time())
            await self._switch(slot, alias, current)
            return current

    async def remove(self, task: str, alias: str) -> None:
        """Take `alias` away: its version answers what is waiting and is unloaded."""
        slot = self._slots[task]
        async with slot.changing:
            await self._switch(slot, alias, None)

    async def close(self) -> None:
        """Drain and unload everything."""
        for task in self._slots:
            for alias in ALIASES:
                await self.remove(task, alias)

    async def _switch(self, slot: _Slot, alias: str, new: Loaded | None) -> None:
        old = slot.aliases.get(alias)
        if old is new:
            return
        if new is None:
            del slot.aliases[alias]
        else:
            slot.aliases[alias] = new  # from here on the next request is answered by the new version
            self._metrics.version_info.labels(slot.task.name, alias, new.version).set(1)
            self._metrics.swaps.labels(slot.task.name, alias).inc()
        before, after = (old.version if old else None), (new.version if new else None)
        _log.info("student version", task=slot.task.name, alias=alias, before=before, after=after)
        if old is not None:
            self._metrics.version_info.remove(slot.task.name, alias, old.version)
            if not any(loaded is old for loaded in slot.aliases.values()):
                await old.batcher.close()


def _load_and_probe(folder: Path, task: ServedTask) -> Student:
    """Load a student and run it over the probe texts, which also warms it up. Blocking."""
    student = load_student(folder)
    if task.labels is not None and student.labels.version != task.labels.version:
        raise ModelFolderError(
            f"{folder}: the student knows label set {student.labels.version}, but the settings of {task.name!r} have "
            f"{task.labels.version}; distil a student for the new labels"
        )
    for texts in (_PROBE[:1], _PROBE, _PROBE):
        predictions = student.predict(texts)
        sums = predictions.probabilities.sum(axis=1)
        if predictions.probabilities.shape != (len(texts), len(student.labels)):
            raise ModelFolderError(f"{folder}: the student answers with a wrong number of labels; distil it again")
        if not (np.isfinite(predictions.probabilities).all() and np.isfinite(predictions.vectors).all()):
            raise ModelFolderError(f"{folder}: the student's answers are not finite numbers; distil it again")
        if np.abs(sums - 1).max() > _TOLERANCE:
            raise ModelFolderError(f"{folder}: the student's probabilities do not sum to one; distil it again")
    return student
