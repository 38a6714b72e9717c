"""A circuit breaker: whoever fails again and again is left alone for a while, then tried with a few real requests.

    closed ──(failures in a row, or a share of them in a window)──> open
    open ──(its time is over)──> half-open ──(all probes succeed)──> closed
                                 half-open ──(one fails)──> open, for twice as long

Pure: it is told the time, and nothing happens unless it is called. (Nygard, Release It!, 2nd ed. 2018, chapter 5.)
"""

from __future__ import annotations

import random
from collections.abc import Callable
from enum import StrEnum
from math import inf
from typing import Final

from core.settings import BreakerSettings
from router.upstream.window import RatioWindow

REFUSED: Final = -1
"""What `admit` says instead of a permit."""

_JITTER: Final = 0.2
"""Up to this share is taken off an open time, so that many gateways do not come back at once."""


class BreakerState(StrEnum):
    """The three states: a metric label."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker:
    """The breaker of one endpoint. Times are seconds of any clock that does not run backwards.

    Each request gets a permit, and gives it back with what became of it, exactly once. A permit is good for the state
    in which it was given: what comes late, from before the breaker opened or closed, changes nothing.
    """

    __slots__ = (
        "_closed_at", "_consecutive", "_openings", "_passed", "_period", "_probing", "_random", "_settings", "_window",
        "open_until", "openings", "state",
    )  # fmt: skip

    def __init__(self, settings: BreakerSettings, now: float, uniform: Callable[[], float] = random.random) -> None:
        """`uniform` draws from [0, 1), for the jitter."""
        self._settings = settings
        self._random = uniform
        self._window = RatioWindow(settings.window_seconds, now)
        self._period = 0
        self._consecutive = 0
        self._openings = 0
        self._probing = 0
        self._passed = 0
        self._closed_at = -inf
        self.state = BreakerState.CLOSED
        self.open_until = -inf
        """When an open breaker will let the first probe through."""
        self.openings = 0
        """How often it has opened."""

    def admits(self, now: float) -> bool:
        """Whether `admit` would give a permit."""
        if self.state is BreakerState.CLOSED:
            return True
        if self.state is BreakerState.OPEN:
            return now >= self.open_until
        return self._probing + self._passed < self._settings.probes

    def admit(self, now: float) -> int:
        """Give a permit for one request, or REFUSED."""
        if self.state is BreakerState.CLOSED:
            return self._period
        if not self.admits(now):
            return REFUSED
        if self.state is BreakerState.OPEN:
            self._enter(BreakerState.HALF_OPEN)
        self._probing += 1
        return self._period

    def succeeded(self, permit: int, now: float) -> None:
        """The request was answered."""
        if permit != self._period:
            return
        if self.state is BreakerState.CLOSED:
            self._consecutive = 0
            self._window.count(now)
            return
        self._probing -= 1
        self._passed += 1
        if self._passed >= self._settings.probes:
            self._enter(BreakerState.CLOSED)
            self._closed_at = now

    def failed(self, permit: int, now: float) -> None:
        """The request was not answered, and the upstream is to blame."""
        if permit != self._period:
            return
        if self.state is BreakerState.HALF_OPEN:
            self._open(now)
            return
        self._consecutive += 1
        self._window.count(now)
        self._window.mark(now)
        settings, window = self._settings, self._window
        if self._consecutive >= settings.consecutive_failures or (
            window.total >= settings.min_requests and window.ratio >= settings.failure_ratio
        ):
            self._open(now)

    def abandoned(self, permit: int) -> None:
        """Nobody knows: the client went away, or its own deadline passed. Another may be the probe."""
        if permit == self._period and self.state is BreakerState.HALF_OPEN:
            self._probing -= 1

    def reconsider(self, now: float) -> None:
        """The upstream was seen alive: an open breaker need not wait any longer before it probes."""
        if self.state is BreakerState.OPEN:
            self.open_until = min(self.open_until, now)

    def _open(self, now: float) -> None:
        settings = self._settings
        if now - self._closed_at > settings.max_open_seconds and self.state is BreakerState.CLOSED:
            self._openings = 0  # it has been well for long enough to start afresh
        seconds = min(settings.open_seconds * 2.0 ** min(self._openings, 32), settings.max_open_seconds)
        self._openings += 1
        self.openings += 1
        self.open_until = now + seconds * (1.0 - _JITTER * self._random())
        self._enter(BreakerState.OPEN)

    def _enter(self, state: BreakerState) -> None:
        self.state = state
        self._period += 1
        self._consecutive = self._probing = self._passed = 0
        self._window.clear()
