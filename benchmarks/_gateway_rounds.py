"""Measuring gateways in turn, round after round."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final, Self

from benchmarks._gateway_peers import LOAD_CORE, Target
from benchmarks._gateway_process import cpu_seconds, resident_mib
from benchmarks._gateway_stock import EVENTS, TASK
from benchmarks._gateway_streams import StreamLoad, run_streams
from benchmarks._gateway_wrk import CHAT, Load, run_wrk, write_script

CONNECTIONS: Final = 32
_CALM_STREAMS: Final = 8
_CALM_EVENTS: Final = 3
_WARM_UP_SECONDS: Final = 1
_LOOK_SECONDS: Final = 0.1
_IDLE: Final = 0.15
"""Share of its core below which a gateway counts as idle: the kernel counts CPU time in steps of 10 ms."""
_LONGEST_WAIT: Final = 20.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    rounds: int
    seconds: int
    """Of each of the four measurements of a gateway in a round."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What one round says of one gateway; or the medians over rounds."""

    per_second: float
    """Whole answers a second over 32 connections, and their latency."""
    p50_us: float
    p99_us: float
    cpu_us: float
    """CPU time of a whole answer on the gateway's core, over 32 connections."""
    beside_us: float
    """The same on the other core: shipping, journal."""
    one_p50_us: float
    """Latency over a single connection."""
    one_p99_us: float
    first_p50_ms: float
    """Time to a stream's first event, 8 streams at once."""
    first_p99_ms: float
    events_per_second: float
    """Events of streams a second, with as many streams as saturate it."""
    event_cpu_us: float
    """CPU time of an event on the gateway's core, the opening of streams included."""
    stream_busy: float
    """Share of its core that it had or took meanwhile: well below 1, not the gateway but the load was the limit."""
    memory_mib: float
    failed: float
    """Requests and streams that failed, in all four measurements."""

    @property
    def core_events(self) -> float:
        """Events for each second of its core's time: what it could send a second, were the load endless."""
        return 1e6 / self.event_cpu_us if self.event_cpu_us else math.inf

    @classmethod
    def median(cls, rounds: Sequence[Self]) -> Self:
        """Field by field."""
        return cls(**{spec.name: statistics.median(getattr(one, spec.name) for one in rounds) for spec in fields(cls)})


Rounds = dict[str, list[Figures]]
"""For each gateway, its figures in every round."""


def measure(targets: Sequence[Target], plan: Plan, folder: Path, say: Callable[[str], None]) -> Rounds:
    """Measure all in each round, in an order that moves on by one from round to round. Raises StartError."""
    scripts = {
        target.name: write_script(folder / f"{target.name}.lua", TASK, target.request_headers) for target in targets
    }
    for target in targets:
        _load(target, scripts[target.name], CONNECTIONS, _WARM_UP_SECONDS)
        _settle(target)
    rounds: Rounds = {target.name: [] for target in targets}
    for number in range(plan.rounds):
        shift = number % len(targets)
        for target in (*targets[shift:], *targets[:shift]):
            figures = _measure_one(target, scripts[target.name], plan.seconds)
            rounds[target.name].append(figures)
            say(f"round {number + 1} of {plan.rounds}: {target.name}: {describe(figures)}")
    return rounds


def describe(figures: Figures) -> str:
    """The most important ones in a line."""
    return (
        f"{figures.per_second:,.0f} requests/s, p50 {figures.one_p50_us:,.0f} µs, {figures.cpu_us:,.0f} µs CPU; "
        f"{figures.events_per_second:,.0f} events/s, first after {figures.first_p50_ms:.2f} ms"
    )


def _measure_one(target: Target, script: Path, seconds: int) -> Figures:
    before = cpu_seconds(target.processes), cpu_seconds(target.beside)
    many = _load(target, script, CONNECTIONS, seconds)
    after = cpu_seconds(target.processes), cpu_seconds(target.beside)
    _settle(target)
    one = _load(target, script, 1, seconds)
    _settle(target)
    calm = _streams(target, seconds, streams=_CALM_STREAMS, events=_CALM_EVENTS)
    _settle(target)
    spent = cpu_seconds(target.processes)
    busy = _streams(target, seconds, streams=target.streams)
    spent = cpu_seconds(target.processes) - spent
    memory = resident_mib(target.processes)
    _settle(target)
    answered, event_cpu_us = max(many.requests, 1), spent / max(busy.events_in_all, 1) * 1e6
    return Figures(
        per_second=many.per_second,
        p50_us=many.p50_us,
        p99_us=many.p99_us,
        cpu_us=(after[0] - before[0]) / answered * 1e6,
        beside_us=(after[1] - before[1]) / answered * 1e6,
        one_p50_us=one.p50_us,
        one_p99_us=one.p99_us,
        first_p50_ms=_or_infinity(calm.first_p50_ms),
        first_p99_ms=_or_infinity(calm.first_p99_ms),
        events_per_second=busy.events_per_second,
        event_cpu_us=event_cpu_us,
        stream_busy=busy.events_per_second * event_cpu_us / 1e6,
        memory_mib=memory,
        failed=many.failed + one.failed + calm.failed + busy.failed,
    )


def _load(target: Target, script: Path, connections: int, seconds: int) -> Load:
    return run_wrk(target.url + CHAT, script, connections=connections, seconds=seconds, core=LOAD_CORE)


def _streams(target: Target, seconds: float, *, streams: int, events: int = EVENTS) -> StreamLoad:
    headers = target.request_headers | target.stream_headers
    return run_streams(target.url, TASK, headers, core=LOAD_CORE, streams=streams, events=events, seconds=seconds)


def _settle(target: Target) -> None:
    """Wait until the gateway has dealt with what it was left with, so that it is not in the way of the next one."""
    deadline = time.monotonic() + _LONGEST_WAIT
    while target.processes and time.monotonic() < deadline:
        before = cpu_seconds(target.processes)
        time.sleep(_LOOK_SECONDS)
        if cpu_seconds(target.processes) - before < _IDLE * _LOOK_SECONDS:
            return


def _or_infinity(milliseconds: float | None) -> float:
    """A gateway that sends no event within the time has no time to the first one."""
    return math.inf if milliseconds is None else milliseconds
