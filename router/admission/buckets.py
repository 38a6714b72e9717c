"""A worker's slice of a token bucket that all workers share.

The whole bucket holds a minute's limit, C, and refills by C/60 a second. Redis leases each worker that uses it a slice:
a share s of it, which is a token bucket of its own that holds s C and refills by s C/60 a second, and is as full as the
lease says. All shares together are 1 at most, so slices that are kept to admit no more than the whole bucket would: C +
t C/60 in any t seconds. With a share of 1 a slice *is* the bucket, to the unit and the microsecond.

Beside its lease a worker has an *advance*, so that nobody waits for Redis: where its share is less than 1/W, W being
the number of workers, it may use the difference of what is left of the whole bucket, but owes it. What it has used is
booked at the next renewal and taken from what refills later. And a request larger than what the worker holds passes
where the whole bucket is known to hold enough, and is owed likewise. So no worker ever owes more than C/W and one
request m, and W > 1 workers together admit C + t C/60 + W (C/W + m) in any t seconds at most.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

from router.admission.headers import Headers, duration

Dimension = Literal["requests", "tokens"]

_MINUTE: Final = 60.0
_DEMAND_SECONDS: Final = 1.0
_FAST_SECONDS: Final = 0.1
_SLOW_SECONDS: Final = 0.5
_IDLE_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Report:
    """What a worker tells Redis about its slice of a bucket at one moment, in units (requests or tokens)."""

    at: float
    """When, by the worker's clock."""
    own: float
    """What is left of the lease; below 0: owed."""
    held: float
    """What the lease held when it was full. Where Redis knows no lease, `own - held` is what was used."""
    demand: float
    """Units a second that were asked for of late, admitted or not."""
    release: bool
    """The worker gives its lease back."""
    spent: float
    wanted: float


@dataclass(frozen=True, slots=True)
class Lease:
    """What Redis answers."""

    own: float
    """Units of the slice now; below 0: owed."""
    share: float
    """Share of the whole bucket, from 0 to 1."""
    total: float
    """Units left in the whole bucket, as far as Redis knows."""
    reserved: float
    """Units of these that other workers may have used already."""


class Bucket:
    """One worker's slice of one bucket. Times are by the worker's monotonic clock, in seconds."""

    __slots__ = (
        "_advance",
        "_asked_at",
        "_before_remaining",
        "_before_reset",
        "_demand",
        "_leased",
        "_limit_header",
        "_refill",
        "_remaining_name",
        "_renewed_at",
        "_reset_name",
        "_share",
        "_until",
        "at",
        "capacity",
        "ceiling",
        "dimension",
        "elsewhere",
        "level",
        "rate",
        "shut",
        "spent",
        "wanted",
    )

    def __init__(self, dimension: Dimension, capacity: int, workers: int, now: float) -> None:
        self.dimension = dimension
        self.capacity = float(capacity)
        """Units of the whole bucket: a minute's limit."""
        self._refill = capacity / _MINUTE
        name = dimension.encode()
        self._remaining_name = b"x-ratelimit-remaining-" + name
        self._reset_name = b"x-ratelimit-reset-" + name
        self._write_limit(capacity)
        self.spent = 0.0
        """Units used since the last renewal."""
        self.wanted = 0.0
        """Units asked for since then, those that were refused included."""
        self._demand = 0.0
        self._renewed_at = -math.inf
        self._asked_at = now
        self._until = -math.inf
        self.at = now
        self.shut = False
        """Nothing refills: Redis is away, the lease is over, and the settings say `closed`."""
        self._leased = False
        self._share = 0.0
        self._advance = 0.0
        self.level = 0.0
        """Units that may be used now, as of `at`."""
        self.rate = 0.0
        """Units that `level` grows by in a second."""
        self.ceiling = 0.0
        """Where it stops to grow."""
        self.elsewhere = 0.0
        """Units left of the whole bucket that this worker does not hold, as far as it knows."""
        self._release(self.capacity, workers)

    def covers(self, units: float, now: float) -> bool:
        """Whether a request of so many units may pass now. It takes nothing."""
        level = self.level + (now - self.at) * self.rate
        if level > self.ceiling:
            level = self.ceiling
        self.level = level
        self.at = now
        return level >= units or (level > 0.0 and level + self.elsewhere >= units)

    def admit(self, units: float, now: float) -> bool:
        """Use so many units where `covers` allows it; both in one call, since every request makes it four times."""
        level = self.level + (now - self.at) * self.rate
        if level > self.ceiling:
            level = self.ceiling
        self.at = now
        if level >= units or (level > 0.0 and level + self.elsewhere >= units):
            self.level = level - units
            self.spent += units
            self.wanted += units
            return True
        self.level = level
        return False

    def take(self, units: float) -> None:
        """Use so many units. Fewer than 0 gives them back."""
        self.level -= units
        self.spent += units
        self.wanted += units

    def seconds_until(self, units: float, now: float) -> float:
        """How long until a request of so many units would pass, if nothing else does; infinite: never.

        Exact where this worker holds the whole bucket. Else it is what the slice needs; it may come sooner.
        """
        if self.covers(units, now):
            return 0.0
        if units > self.capacity:
            return math.inf
        if self.rate <= 0.0:
            return _FAST_SECONDS
        enough = max(min(units - self.elsewhere, self.ceiling), 0.0)
        return max((enough - self.level) / self.rate, 0.001)

    def headers(self) -> Headers:
        """`x-ratelimit-{limit,remaining,reset}-…` of the whole bucket, as far as this worker knows."""
        left = self.level + self.elsewhere
        if left > self.capacity:
            left = self.capacity
        return [
            self._limit_header,
            (self._remaining_name, b"%d" % (max(0.0, left))),
            (self._reset_name, duration((self.capacity - left) / self._refill)),
        ]

    def _write_limit(self, capacity: int) -> None:
        """Write down what of the headers stays the same until the limit changes."""
        name = self.dimension.encode()
        self._limit_header = (b"x-ratelimit-limit-" + name, b"%d" % capacity)
        self._before_remaining = b"%b: %b\r\n%b: " % (*self._limit_header, self._remaining_name)
        self._before_reset = b"\r\n%b: " % self._reset_name

    def lines(self) -> bytes:
        """The same as they go out, each ending in CR LF."""
        left, capacity = self.level + self.elsewhere, self.capacity
        if left > capacity:
            left = capacity
        reset = duration((capacity - left) / self._refill)
        return b"%b%d%b%b\r\n" % (self._before_remaining, max(0.0, left), self._before_reset, reset)

    def is_due(self, now: float) -> bool:
        """Whether it is time to tell Redis: soon where the slice runs low, else now and then."""
        pause = _FAST_SECONDS if self.level < self.ceiling / 2 else _SLOW_SECONDS
        return now - self._renewed_at >= pause

    @property
    def is_idle(self) -> bool:
        """Whether it has long been unused and owes Redis nothing, so that it needs no renewal."""
        return not self._leased and self.spent == 0.0 and self.wanted == 0.0

    def is_forgettable(self, now: float) -> bool:
        """Whether a new bucket would be the same."""
        self.covers(0.0, now)
        return self.is_idle and now - self._renewed_at > _MINUTE and self.level >= self.ceiling

    def report(self, now: float, *, release: bool = False) -> Report:
        """What to tell Redis. It changes nothing: a report that is not answered is made again."""
        self.covers(0.0, now)
        if self.wanted > 0.0:
            self._asked_at = now
        elapsed = min(max(now - self._renewed_at, _FAST_SECONDS), _DEMAND_SECONDS)
        demand = self._demand + (self.wanted / elapsed - self._demand) * -math.expm1(-elapsed / _DEMAND_SECONDS)
        idle = now - self._asked_at > _IDLE_SECONDS
        own, held = (self.level - self._advance, self._share * self.capacity) if self._leased else (-self.spent, 0.0)
        return Report(now, own, held, max(demand, 0.0), release or idle, self.spent, self.wanted)

    def renew(self, report: Report, lease: Lease, workers: int, seconds: float, now: float) -> None:
        """Take over what Redis answered to a report. What was used in between is taken off."""
        self.shut = False
        self.spent -= report.spent
        self.wanted -= report.wanted
        self._demand = report.demand
        self._renewed_at = now
        if report.release:
            self._release(lease.total - lease.reserved, workers)
        else:
            kept = min(self._share, lease.share)
            refilled = kept * self._refill * (now - report.at)
            self._leased = True
            self._share = lease.share
            self._until = report.at + seconds
            own = min(lease.own + refilled, lease.share * self.capacity)
            part = max(lease.total - lease.reserved, 0.0) * max(1.0 / workers - lease.share, 0.0)
            self._advance = max(part - max(own, 0.0), 0.0)
            self._hold(own + self._advance, lease.share, lease.total)
            self.ceiling += self._advance
        self.level -= self.spent
        self.at = now

    def without_redis(self, now: float, *, closed: bool) -> None:
        """Go on alone where the lease is over. Open: with the whole limit. Closed: with what is left of the lease."""
        if self.shut or now < self._until:
            return
        self.covers(0.0, now)
        if closed:
            self.level = self.level - self._advance if self._leased else min(self.level, 0.0)
            self._advance = self.elsewhere = self.rate = 0.0
            self.ceiling = max(self.level, 0.0)
            self.shut = True
        else:
            total = self.level + self.elsewhere
            self._leased, self._share, self._advance, self._until = True, 1.0, 0.0, math.inf
            self._hold(total, 1.0, total)

    def resize(self, capacity: int) -> None:
        """Another limit from now on. What is left stays, as far as it fits."""
        change = capacity / self.capacity
        self.capacity = float(capacity)
        self._refill = capacity / _MINUTE
        self._write_limit(capacity)
        self.rate *= change
        self.ceiling *= change
        self.elsewhere = min(self.elsewhere, self.capacity)

    def _release(self, total: float, workers: int) -> None:
        """No lease: what may be used is an advance, and grows as the whole bucket does."""
        self._leased = False
        self._share = 0.0
        self._advance = 0.0
        self._hold(total / workers, 1.0 / workers, total)

    def _hold(self, level: float, share: float, total: float) -> None:
        self.level = min(level, self.capacity)
        self.rate = share * self._refill
        self.ceiling = share * self.capacity
        self.elsewhere = max(total - level, 0.0)
