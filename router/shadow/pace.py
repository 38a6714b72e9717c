"""Giving way: while the teacher has no room for more, the requests of clients come first."""

from __future__ import annotations

import asyncio
import time


class Pace:
    """Holds every shadow call of a task back for as long as the teacher asked one of them to wait."""

    def __init__(self) -> None:
        self.pauses = 0
        """How often the teacher had no room."""
        self._until = 0.0

    async def passed(self) -> None:
        """Return when the next call may be made."""
        while (left := self._until - time.monotonic()) > 0:  # noqa: ASYNC110 - another call may move it meanwhile
            await asyncio.sleep(left)

    def hold(self, seconds: float) -> None:
        """Let nobody pass for so long."""
        self.pauses += 1
        self._until = max(self._until, time.monotonic() + seconds)
