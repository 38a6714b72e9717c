"""Follows the registry: every few seconds it looks where `champion` and `challenger` point, and swaps.

All blocking work runs in daemon threads: a registry that hangs neither stops the answers nor the shutdown. The registry
being away changes nothing: the last-known-good versions keep serving.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from core.errors import ModelFolderError, RegistryError, StateError
from core.registry import Registry
from server.metrics import StudentMetrics
from server.pointer import Pointers
from server.threads import in_thread
from server.versions import ALIASES, Versions

_FIRST_RETRY_SECONDS: Final = 5.0
_LAST_RETRY_SECONDS: Final = 300.0

_log = structlog.get_logger()


@dataclass(slots=True)
class _Refused:
    """A version that could not be installed, and when to try it again."""

    version: str
    pause: float
    until: float


class RegistryWatch:
    """Keeps `Versions` as the registry says."""

    def __init__(
        self,
        open_registry: Callable[[], Registry],
        versions: Versions,
        pointers: Pointers,
        metrics: StudentMetrics,
        poll_seconds: float,
    ) -> None:
        self._open = open_registry
        self._registry: Registry | None = None
        self._versions = versions
        self._pointers = pointers
        self._metrics = metrics
        self._poll_seconds = poll_seconds
        self._refused: dict[tuple[str, str], _Refused] = {}
        self._away = False

    async def run(self) -> None:
        """Follow the registry until cancelled."""
        while True:
            try:
                await self.poll()
            except Exception:  # noqa: BLE001 - a defect here must not end the following; the students keep serving
                _log.exception("following the registry failed; trying again")
            await asyncio.sleep(self._poll_seconds)

    async def poll(self) -> None:
        """Look once, and swap what has changed."""
        for task in self._versions.tasks:
            try:
                aliases = await in_thread(partial(self._aliases, task.name))
            except RegistryError as error:
                self._note_away(error)
                return
            if self._away:
                self._away = False
                _log.info("the registry answers again")
            if aliases is None:
                continue  # never registered: a registry that lost its data must not take the students with it
            for alias in ALIASES:
                await self._follow(task.name, alias, aliases.get(alias))

    async def restore(self) -> None:
        """Load what served last, from this machine's disk alone."""
        for task in self._versions.tasks:
            for alias in ALIASES:
                try:
                    pointer = await in_thread(partial(self._pointers.read, task.name, alias))
                    if pointer is not None:
                        folder = self._pointers.version_folder(task.name, pointer.version)
                        await self._versions.install(task.name, alias, pointer.version, folder)
                except (StateError, ModelFolderError) as error:
                    self._metrics.swap_failures.labels(task.name, alias).inc()
                    _log.error("the last known student cannot be loaded", task=task.name, alias=alias, error=str(error))

    def _aliases(self, task: str) -> dict[str, str] | None:
        if self._registry is None:
            self._registry = self._open()
        return self._registry.aliases(task)

    async def _follow(self, task: str, alias: str, version: str | None) -> None:
        loaded = self._versions.loaded(task).get(alias)
        if version == (loaded.version if loaded is not None else None):
            return
        if version is None:
            await self._versions.remove(task, alias)
            await in_thread(partial(self._pointers.remove, task, alias))
            return
        refused = self._refused.get((task, alias))
        if refused is not None and refused.version == version and time.monotonic() < refused.until:
            return
        try:
            await self._install(task, alias, version)
            self._refused.pop((task, alias), None)
        except (RegistryError, ModelFolderError, OSError) as error:
            self._refuse(task, alias, version, error)

    async def _install(self, task: str, alias: str, version: str) -> None:
        folder = self._pointers.version_folder(task, version)
        registry = self._registry
        if registry is None:
            raise RegistryError("the registry is not open")
        previous = self._versions.loaded(task).get(alias)
        if all(loaded.version != version for loaded in self._versions.loaded(task).values()):
            await in_thread(partial(registry.fetch, task, version, folder))
        await self._versions.install(task, alias, version, folder)
        keep = {loaded.version for loaded in self._versions.loaded(task).values()}
        if previous is not None:
            keep.add(previous.version)  # so that a rollback has it at hand

        def settle() -> None:
            self._pointers.write(task, alias, version)
            self._pointers.prune(task, keep)

        await in_thread(settle)

    def _refuse(self, task: str, alias: str, version: str, error: Exception) -> None:
        before = self._refused.get((task, alias))
        pause = _FIRST_RETRY_SECONDS
        if before is not None and before.version == version:
            pause = min(before.pause * 2, _LAST_RETRY_SECONDS)
        self._refused[task, alias] = _Refused(version, pause, time.monotonic() + pause)
        self._metrics.swap_failures.labels(task, alias).inc()
        _log.error(
            "a student version cannot serve; the one before keeps answering",
            task=task,
            alias=alias,
            version=version,
            error=str(error),
            retry_seconds=pause,
        )

    def _note_away(self, error: RegistryError) -> None:
        if not self._away:
            self._away = True
            _log.warning("the registry does not answer; the last known students keep serving", error=str(error))
