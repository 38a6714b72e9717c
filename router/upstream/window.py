"""Counting over a sliding window, in constant time and space."""

from __future__ import annotations

from typing import Final

_SLOTS: Final = 10


class RatioWindow:
    """How many events the last `seconds` saw, and how many of them were marked: a ratio with its volume.

    The window moves on in tenths of its length, so that it covers between nine tenths and all of it. Times are seconds
    of any clock that does not run backwards; whoever counts reads it.
    """

    __slots__ = ("_at", "_ends", "_marked", "_totals", "_width", "marked", "total")

    def __init__(self, seconds: float, now: float) -> None:
        self._width = seconds / _SLOTS
        self._totals = [0] * _SLOTS
        self._marked = [0] * _SLOTS
        self._at = 0
        self._ends = now + self._width
        self.total = 0
        """Events in the window, as of the last call."""
        self.marked = 0
        """Those of them that were marked."""

    @property
    def ratio(self) -> float:
        """The marked share, as of the last call; 0 where nothing was counted."""
        return self.marked / self.total if self.total else 0.0

    def count(self, now: float) -> None:
        """Count an event."""
        if now >= self._ends:
            self.move(now)
        self._totals[self._at] += 1
        self.total += 1

    def mark(self, now: float) -> None:
        """Mark an event that is, or was, counted."""
        if now >= self._ends:
            self.move(now)
        self._marked[self._at] += 1
        self.marked += 1

    def move(self, now: float) -> None:
        """Forget what is older than the window."""
        if now < self._ends:
            return
        steps = int((now - self._ends) / self._width) + 1
        self._ends += steps * self._width
        for _ in range(min(steps, _SLOTS)):
            self._at = (self._at + 1) % _SLOTS
            self.total -= self._totals[self._at]
            self.marked -= self._marked[self._at]
            self._totals[self._at] = self._marked[self._at] = 0

    def clear(self) -> None:
        """Forget everything."""
        self._totals = [0] * _SLOTS
        self._marked = [0] * _SLOTS
        self.total = self.marked = 0
