"""When and how the pages are drawn."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from monitoring.exposition import Page, render
from monitoring.metrics.subjects import SUBJECTS
from monitoring.reader import TaskReader


class Metrics:
    """The text that Prometheus scrapes, and the tasks' pages of which it consists."""

    def __init__(self, readers: Sequence[TaskReader]) -> None:
        self._readers = readers
        self._pages: dict[str, Page] = {}
        self.text = b""
        """As of the last drawing."""

    def draw(self) -> None:
        """Draw all tasks anew."""
        for reader in self._readers:
            self._pages[reader.task] = self._page(reader)
        self.text = render(self._pages.values())

    async def redraw(self, reader: TaskReader) -> None:
        """Draw one task anew, in a thread; its state must rest meanwhile."""
        self._pages[reader.task] = await asyncio.to_thread(self._page, reader)
        self.text = render(self._pages.values())

    def _page(self, reader: TaskReader) -> Page:
        page = Page(reader.task, self._pages.get(reader.task))
        for draw in SUBJECTS:
            draw(page, reader)
        page.finish()
        return page
