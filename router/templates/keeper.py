"""Beside the request path: accepted templates are taken in, and what fits none is written down for a person."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from core.accepted_templates import TaskTemplates
from core.errors import StartupError, StateError
from core.ids import minted_at
from core.ledger import Ledger, UnknownTemplate
from router.templates.families import Example
from router.templates.report import Reporter

if TYPE_CHECKING:
    from prometheus_client import Counter

    from router.tasks import Task

_log = structlog.get_logger(__name__)

_IDLE_SECONDS: Final = 600.0
_RETENTION_SECONDS: Final = 3600.0
_DAY: Final = 86_400.0

Gone = Callable[[str, str, str], bool]
"""Whether an example must go: asked with its task, the exchange's id, and its user."""


class TemplateKeeper:
    """Keeps the templates of all tasks. For one event loop."""

    def __init__(
        self,
        tasks: Mapping[str, Task],
        ledger: Ledger,
        file: Path,
        counter: Counter,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`file` keeps the last known accepted templates; `counter` counts new unknown ones, by task.

        `clock`: seconds since the epoch.
        """
        self._tasks = tasks
        self._ledger = ledger
        self._templates = TaskTemplates({name: task.settings for name, task in tasks.items()}, ledger, file)
        self._counter = counter
        self._clock = clock
        self._reporters = {
            name: Reporter(name, task.privacy, task.settings.privacy.store) for name, task in tasks.items()
        }
        self._tombstones = ledger.forgotten.tombstones()
        self._retention_due = 0.0
        self._known: set[tuple[str, str]] = set()
        self._writable = True

    async def refresh(self) -> None:
        """Take in and write down once. Never raises: what cannot be read or written is tried again the next time."""
        if await asyncio.to_thread(self._templates.refresh):
            self._take_in()
        for task in self._tasks.values():
            await task.unmatched.learn()
        try:
            await self._write()
        except (SQLAlchemyError, StartupError, StateError) as error:
            if self._writable:
                _log.warning(
                    "unknown_templates_not_written", error=str(error), effect="they are once the ledger is back"
                )
            self._writable = False
        else:
            self._writable = True

    async def keep_fresh(self, seconds: float) -> None:
        """Do so again and again, until cancelled."""
        while True:
            await self.refresh()
            await asyncio.sleep(seconds)

    def _take_in(self) -> None:
        """Each task's templates are replaced between two requests."""
        for name, task in self._tasks.items():
            templates = self._templates.of(name)
            if templates != task.templates:
                versions = [template.version for template in templates]
                _log.info("templates_changed", task=name, templates=versions)
                task.templates = templates
                task.unmatched.drop_known(templates)

    async def _write(self) -> None:
        now = self._clock()
        await self._forget(now)
        for known in await asyncio.to_thread(self._read_new):
            self._reporters[known.task].adopt(self._tasks[known.task].unmatched, known, now)
        for name, task in self._tasks.items():
            self._reporters[name].take(task.unmatched)
            task.unmatched.shed(now - _IDLE_SECONDS)
        fresh = await asyncio.to_thread(self._note)
        for reporter in self._reporters.values():
            reporter.written()
        for one in fresh:
            self._counter.labels(one.task).inc()
            hint = f"`tutelage templates --task {one.task}` shows it; until it is accepted the teacher answers"
            _log.warning("new_template_seen", task=one.task, id=one.id, roles=list(one.roles), hint=hint)

    def _read_new(self) -> list[UnknownTemplate]:
        """What others have written, or this gateway before a restart. Blocks."""
        ids = {(task, one) for task, one in self._ledger.unknown_templates.ids() if task in self._tasks}
        found = [self._ledger.unknown_templates.get(*new) for new in ids - self._known]
        self._known = ids
        return [one for one in found if one is not None]

    def _note(self) -> list[UnknownTemplate]:
        """Write the reports down; returns what is new. Blocks."""
        reporters = self._reporters.items()
        seen = [self._allowed(one) for _, reporter in reporters for one in reporter.seen]
        noted = {task for task, _ in self._known} | {one.task for one in seen}
        requests = {name: reporter.requests for name, reporter in reporters if name in noted and reporter.requests}
        replaced = [(name, *change) for name, reporter in reporters for change in reporter.replaced.items()]
        return self._ledger.unknown_templates.note(seen, requests, replaced) if seen or requests or replaced else []

    def _allowed(self, one: UnknownTemplate) -> UnknownTemplate:
        """Without what was forgotten while it could not be written."""
        if one.exchange and self._is_forgotten(one.task, one.exchange, one.user):
            return replace(one, example=(), exchange="", user="", template=None)
        return one

    async def _forget(self, now: float) -> None:
        """Drop what must be forgotten, and examples older than the retention, here and in the ledger."""
        if await asyncio.to_thread(self._tombstones.refresh) and self._tombstones:
            await self._drop(self._is_forgotten, texts=True)
        if now >= self._retention_due:
            self._retention_due = now + _RETENTION_SECONDS
            await self._drop(partial(self._is_old, now), texts=False)

    async def _drop(self, gone: Gone, *, texts: bool) -> None:
        for name, task in self._tasks.items():
            drop = task.unmatched.forget if texts else task.unmatched.expire
            drop(partial(self._is_gone, gone, name))
        dropped = await asyncio.to_thread(self._ledger.unknown_templates.drop_examples, gone, texts=texts)
        if dropped:
            await asyncio.to_thread(self._ledger.purge)

    def _is_gone(self, gone: Gone, task: str, example: Example) -> bool:
        return gone(task, example.exchange, self._reporters[task].user(example.user))

    def _is_forgotten(self, task: str, exchange: str, user: str) -> bool:
        return self._tombstones.has(exchange) or self._tombstones.has_user(user, task, minted_at(exchange))

    def _is_old(self, now: float, task: str, exchange: str, user: str) -> bool:  # noqa: ARG002  # as `Gone` is asked
        known = self._tasks.get(task)
        days = known.settings.privacy.retention_days if known is not None else None
        return days is not None and minted_at(exchange) < now - days * _DAY
