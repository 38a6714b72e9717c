"""What `benchmarks.gateway` claims, and its closing line."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Final

from benchmarks._gateway_endurance import Endurance
from benchmarks._gateway_rounds import Figures, Rounds
from benchmarks._report import Claim

OURS: Final = "tutelage"
DIRECT: Final = "direct"
"""The upstream without any gateway."""
RIVAL: Final = "vllm-router"
SLOWEST: Final = "litellm"

_STRETCH: Final = 1.5
"""Times the rival's requests a second that would be better still; said, not judged."""
_QUICK_RATIO: Final = 0.5
_RATIOS: Final[dict[str, Callable[[Figures, Figures], float]]] = {
    "requests/s at 32 connections, to {}'s": lambda mine, its: mine.per_second / its.per_second,
    "p50 at one connection, {}'s to ours": lambda mine, its: its.one_p50_us / mine.one_p50_us,
    "stream events a core-second, to {}'s": lambda mine, its: mine.core_events / its.core_events,
    "time to the first event, {}'s to ours": lambda mine, its: its.first_p50_ms / mine.first_p50_ms,
}
"""What is held against the rival's, all of them the larger the better."""


@dataclass(slots=True)
class Outcome:
    """Everything that was measured."""

    load_average: float = 0.0
    """Of the machine, before anything began."""
    rounds: Rounds = field(default_factory=dict)
    """Empty where only the endurance was asked for."""
    versions: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    """Peers that could not be started or did not answer rightly, and why."""
    endurance: Endurance | None = None
    answered: int = 0
    """Exchanges that the gateway counted."""
    journalled: int = 0
    """Those of them that the journal's Redis held in the end."""

    @property
    def medians(self) -> dict[str, Figures]:
        """Of every gateway, over the rounds."""
        return {name: Figures.median(rounds) for name, rounds in self.rounds.items()}


def claims(outcome: Outcome, peers: Collection[str], *, quick: bool) -> list[Claim]:
    """What is claimed against the `peers` that were chosen. None holds against one that did not start."""
    found = list(_speed(outcome.rounds, peers, quick=quick)) if outcome.rounds else []
    if outcome.endurance is not None:
        found += _endurance(outcome.endurance, quick=quick)
    share = outcome.journalled / outcome.answered if outcome.answered else -math.inf
    return [*found, Claim("exchanges in the journal, of those answered", share, 1, 1)]


def closing(outcome: Outcome) -> str:
    """The most important figures in a line."""
    medians, parts = outcome.medians, []
    for name, one in medians.items():
        if name != DIRECT:
            cpu = f" at {one.cpu_us:.0f} µs CPU" if name == OURS else ""
            parts.append(
                f"{name} {one.per_second:,.0f} requests/s{cpu}, p50 {one.one_p50_us:,.0f} µs, "
                f"{one.events_per_second:,.0f} events/s"
            )
    if RIVAL in medians:
        times = _middle(outcome.rounds, RIVAL, lambda mine, its: mine.per_second / its.per_second)
        parts.append(f"{times:.2f} times {RIVAL}'s requests/s (stretch {_STRETCH:g})")
    if outcome.endurance is not None:
        memory = outcome.endurance.after.memory_mib
        parts.append(f"memory {memory:.0f} MiB, {outcome.endurance.growth:+.1f} % in the endurance run")
    return "; ".join(parts)


def _speed(rounds: Rounds, peers: Collection[str], *, quick: bool) -> Iterator[Claim]:
    if RIVAL in peers:
        bound = _QUICK_RATIO if quick else 1.0
        for name, ratio in _RATIOS.items():
            yield Claim(name.format(RIVAL), _middle(rounds, RIVAL, ratio), bound, 1.0, " times")
    if SLOWEST in peers:
        rate = _middle(rounds, SLOWEST, lambda mine, its: mine.per_second / its.per_second)
        yield Claim(f"requests/s at 32 connections, to {SLOWEST}'s", rate, 20 if quick else 100, 100, " times")
    added = _middle(rounds, DIRECT, lambda mine, its: mine.one_p99_us - its.one_p99_us) / 1000
    yield Claim("p99 added at one connection: room below 1 ms", 1 - added, None if quick else 0, 0, " ms")
    yield Claim("failed requests and streams (negated)", -sum(figures.failed for figures in rounds[OURS]), 0, 0)


def _endurance(endurance: Endurance, *, quick: bool) -> Iterator[Claim]:
    yield Claim("growth of the memory (negated)", -endurance.growth, None if quick else -5, -5, " %")
    yield Claim("descriptors, requests, streams left over (negated)", -endurance.left_over, 0, 0)
    yield Claim("failed in the endurance run (negated)", -endurance.failed, 0, 0)


def _middle(rounds: Rounds, name: str, compare: Callable[[Figures, Figures], float]) -> float:
    """Median over the rounds of what `compare` makes of our figures and `name`'s of the same round."""
    theirs = rounds.get(name)
    return statistics.median(map(compare, rounds[OURS], theirs)) if theirs else -math.inf
