"""Pauses between tries while something is away: short at first, twice as long each time, never longer than a bound."""

from __future__ import annotations

import asyncio
from typing import Final

_FIRST: Final = 0.1
_LONGEST: Final = 5.0
_DOUBLINGS: Final = 20


def doubled(first: float, failures: int, longest: float) -> float:
    """Seconds until the next try after so many failures in a row: `first`, twice that, …, never above `longest`."""
    return min(first * 2.0 ** min(failures - 1, _DOUBLINGS), longest)


class Backoff:
    """The pauses of one loop, in seconds: 0.1, 0.2, 0.4, … 5."""

    def __init__(self) -> None:
        self._next = _FIRST

    async def pause(self) -> None:
        """Wait; the next pause is longer."""
        delay, self._next = self._next, min(self._next * 2, _LONGEST)
        await asyncio.sleep(delay)

    def reset(self) -> None:
        """It went well: the next pause is a short one again."""
        self._next = _FIRST
