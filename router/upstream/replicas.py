"""The replicas of an upstream: whoever has least to do gets the next request, and whoever fails is left out."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import Final

import structlog

from core.errors import BreakerOpenError
from core.settings import BreakerSettings
from router.upstream.answer import Endpoint
from router.upstream.breaker import REFUSED, Breaker, BreakerState
from router.upstream.failures import ConnectError

_log = structlog.get_logger(__name__)

_SHORTEST_WAIT: Final = 0.1
_BEST_FIRST: Final = (BreakerState.CLOSED, BreakerState.HALF_OPEN, BreakerState.OPEN)


class Replica:
    """One base URL with its connections, its breaker, and what is under way there."""

    __slots__ = ("_reported", "_unreachable", "breaker", "endpoint", "index", "outstanding", "upstream")

    def __init__(self, upstream: str, index: int, endpoint: Endpoint, breaker: Breaker) -> None:
        self.upstream = upstream
        self.index = index
        """Its place among the upstream's replicas: a metric label."""
        self.endpoint = endpoint
        self.breaker = breaker
        self.outstanding = 0
        self._unreachable = False
        self._reported = BreakerState.CLOSED

    def failed(self, permit: int, now: float, why: Exception | str) -> None:
        """A request failed, with an error or for another reason."""
        self._unreachable = isinstance(why, ConnectError)
        self.breaker.failed(permit, now)
        self._report(str(why))

    def succeeded(self, permit: int, now: float) -> None:
        """A request was answered."""
        self.breaker.succeeded(permit, now)
        if self._reported is not self.breaker.state:
            self._report("")

    def seen_alive(self, now: float) -> None:
        """It answered a health probe. That counts only where connecting to it was the trouble."""
        if self._unreachable:
            self.breaker.reconsider(now)

    def _report(self, why: str) -> None:
        """Log that it was left out, or is back; probing in between is not worth a line."""
        state = self.breaker.state
        if state is self._reported or state is BreakerState.HALF_OPEN:
            return
        self._reported = state
        if state is BreakerState.OPEN:
            _log.warning("replica_ejected", upstream=self.upstream, replica=self.index, why=why)
        else:
            _log.info("replica_back", upstream=self.upstream, replica=self.index)


class Replicas:
    """All replicas of one upstream. For one event loop."""

    def __init__(
        self, upstream: str, endpoints: Sequence[Endpoint], settings: BreakerSettings, clock: Callable[[], float]
    ) -> None:
        self._upstream = upstream
        self._clock = clock
        now = clock()
        self.all = tuple(
            Replica(upstream, index, endpoint, Breaker(settings, now)) for index, endpoint in enumerate(endpoints)
        )
        self._only = self.all[0] if len(self.all) == 1 else None
        self._turn = 0

    @property
    def available(self) -> bool:
        """Whether a request would be let through now."""
        now = self._clock()
        return any(replica.breaker.admits(now) for replica in self.all)

    @property
    def state(self) -> BreakerState:
        """The best state of any replica."""
        return min((replica.breaker.state for replica in self.all), key=_BEST_FIRST.index)

    def choose(self, now: float) -> tuple[Replica, int]:
        """The replica for the next request, with its permit. Raises BreakerOpenError where all are left out."""
        if self._only is not None:
            permit = self._only.breaker.admit(now)
            if permit != REFUSED:
                return self._only, permit
        else:
            found = self.another((), now)
            if found is not None:
                return found
        earliest = min(replica.breaker.open_until for replica in self.all)
        raise BreakerOpenError(
            f"{self._upstream} has failed too often lately and is left alone for a moment; its log says why",
            retry_after=max(earliest - now, _SHORTEST_WAIT),
        )

    def another(self, tried: Container[Replica], now: float) -> tuple[Replica, int] | None:
        """The replica with the fewest requests under way of those not `tried`; ties go round."""
        replicas = self.all
        self._turn = (self._turn + 1) % len(replicas)
        best: Replica | None = None
        for replica in replicas[self._turn :] + replicas[: self._turn]:
            if best is not None and replica.outstanding >= best.outstanding:
                continue
            if replica not in tried and replica.breaker.admits(now):
                best = replica
        return (best, best.breaker.admit(now)) if best is not None else None
