"""What is counted with every request: plain numbers, in records that travel from worker to parent as they are."""

from __future__ import annotations

from bisect import bisect_left
from http import HTTPStatus
from typing import Final

import msgspec

OTHER: Final = "other"
"""The label of what is not in a closed set."""

SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the buckets for whole answers and for first bytes."""
OVERHEAD_SECONDS: Final = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25)
"""Upper bounds of the buckets for the gateway's own share."""

_CODES: Final = {status.value: str(status.value) for status in HTTPStatus} | {499: "499", 529: "529"}
"""The status codes that have a name, the client that has gone (499), and what some providers call overloaded (529)."""


def code_of(status: int) -> str:
    """The label of a status code, which an upstream may have chosen."""
    return _CODES.get(status, OTHER)


def _seconds() -> list[int]:
    return [0] * (len(SECONDS) + 1)


def _overhead_seconds() -> list[int]:
    return [0] * (len(OVERHEAD_SECONDS) + 1)


class Tally(msgspec.Struct, array_like=True, gc=False):
    """Exchanges of one task that ended in one way. Buckets are not cumulative; the last one has no upper bound."""

    task: str
    answered_by: str
    reason: str
    code: str
    seconds: list[int] = msgspec.field(default_factory=_seconds)
    seconds_sum: float = 0.0
    overhead: list[int] = msgspec.field(default_factory=_overhead_seconds)
    overhead_sum: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_dollars: float = 0.0
    shadows: int = 0

    @property
    def key(self) -> tuple[str, ...]:
        """What it counts."""
        return self.task, self.answered_by, self.reason, self.code

    @property
    def requests(self) -> int:
        """How many were added."""
        return sum(self.seconds)

    def add(
        self,
        total_seconds: float,
        upstream_seconds: float,
        prompt_tokens: int,
        completion_tokens: int,
        cost: float,
        shadow: bool,
    ) -> None:
        """Add one finished exchange. `cost` is in dollars; `shadow`: it was drawn for the teacher to look at."""
        self.seconds[bisect_left(SECONDS, total_seconds)] += 1
        self.seconds_sum += total_seconds
        own = total_seconds - upstream_seconds
        if own > 0.0:
            self.overhead[bisect_left(OVERHEAD_SECONDS, own)] += 1
            self.overhead_sum += own
        else:
            self.overhead[0] += 1
        self.prompt_tokens += prompt_tokens
        self.completion_tokens += completion_tokens
        self.cost_dollars += cost
        if shadow:
            self.shadows += 1

    def absorb(self, other: Tally) -> None:
        """Add what another tally of the same key has counted."""
        self.seconds = _sums(self.seconds, other.seconds)
        self.seconds_sum += other.seconds_sum
        self.overhead = _sums(self.overhead, other.overhead)
        self.overhead_sum += other.overhead_sum
        self.prompt_tokens += other.prompt_tokens
        self.completion_tokens += other.completion_tokens
        self.cost_dollars += other.cost_dollars
        self.shadows += other.shadows


class StreamTally(msgspec.Struct, array_like=True, gc=False):
    """Streamed answers of one task by one answerer."""

    task: str
    answered_by: str
    first_byte: list[int] = msgspec.field(default_factory=_seconds)
    first_byte_sum: float = 0.0
    broken_by_client: int = 0
    """Streams whose client went away before the end."""
    broken_by_upstream: int = 0
    """Streams that ended with an error event."""

    @property
    def key(self) -> tuple[str, ...]:
        """What it counts."""
        return self.task, self.answered_by

    def began(self, seconds: float) -> None:
        """Add a stream whose first event went out `seconds` after the request came."""
        self.first_byte[bisect_left(SECONDS, seconds)] += 1
        self.first_byte_sum += seconds

    def absorb(self, other: StreamTally) -> None:
        """Add what another tally of the same key has counted."""
        self.first_byte = _sums(self.first_byte, other.first_byte)
        self.first_byte_sum += other.first_byte_sum
        self.broken_by_client += other.broken_by_client
        self.broken_by_upstream += other.broken_by_upstream


def _sums(one: list[int], other: list[int]) -> list[int]:
    return [a + b for a, b in zip(one, other, strict=True)]
