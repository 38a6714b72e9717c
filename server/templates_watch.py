"""Follows the ledger: a template that a person has accepted is one that the students can read from then on."""

from __future__ import annotations

import asyncio

import structlog

from core.accepted_templates import TaskTemplates
from server.threads import in_thread
from server.versions import Versions

_log = structlog.get_logger()


class TemplatesWatch:
    """Keeps the templates in `Versions` as the ledger says; while it is away, the last known ones count."""

    def __init__(self, templates: TaskTemplates, versions: Versions, poll_seconds: float) -> None:
        self._templates = templates
        self._versions = versions
        self._poll_seconds = poll_seconds

    async def run(self) -> None:
        """Follow the ledger until cancelled."""
        while True:
            await self.poll()
            await asyncio.sleep(self._poll_seconds)

    async def poll(self) -> None:
        """Look once, and take in what has changed."""
        if not await in_thread(self._templates.refresh):
            return
        for task in self._versions.tasks:
            templates = self._templates.of(task.name)
            if templates != task.templates:
                self._versions.set_templates(task.name, templates)
                _log.info("templates changed", task=task.name, templates=[each.version for each in templates])
