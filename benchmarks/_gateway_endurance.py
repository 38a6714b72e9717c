"""Whether a gateway that has answered much, and was left by many clients in the middle, holds on to anything."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx
import psutil

from benchmarks._gateway_peers import LOAD_CORE, Site, Target
from benchmarks._gateway_process import StartError, resident_mib
from benchmarks._gateway_rounds import CONNECTIONS
from benchmarks._gateway_stock import TASK
from benchmarks._gateway_streams import run_streams
from benchmarks._gateway_wrk import CHAT, run_wrk, write_script
from benchmarks._house import read_metrics

_STREAMS: Final = 64
_LOOKS: Final = 5
_CALM_SECONDS: Final = 20.0
_IN_FLIGHT: Final = "tutelage_gateway_in_flight"


@dataclass(frozen=True, slots=True)
class EndurancePlan:
    """How much, after a warm-up of a fifth of it."""

    requests: int
    broken_off: int
    portions: int


@dataclass(frozen=True, slots=True)
class State:
    """What the worker holds while nobody asks anything."""

    memory_mib: float
    descriptors: int
    """Without the connections to the upstream that wait in its pool."""
    pooled: int
    """These."""
    threads: int
    in_flight: int
    """Requests that it thinks are under way."""
    upstream_streams: int
    """Streams that the upstream is still sending."""


@dataclass(frozen=True, slots=True)
class Endurance:
    """What was done, and what was there before and after."""

    requests: int
    broken_off: int
    failed: int
    seconds: float
    before: State
    after: State
    memory_mib: list[float]
    """After each portion."""

    @property
    def growth(self) -> float:
        """Of the memory, in per cent of what it was after the warm-up."""
        return 100 * (self.after.memory_mib / self.before.memory_mib - 1)

    @property
    def left_over(self) -> int:
        """Descriptors, requests and streams that should be gone. The pool may hold as many as were needed at once."""
        descriptors = max(0, self.after.descriptors - self.before.descriptors)
        pooled = max(0, self.after.pooled - max(CONNECTIONS, _STREAMS))
        return descriptors + pooled + self.after.in_flight + self.after.upstream_streams


def endure(target: Target, site: Site, plan: EndurancePlan, say: Callable[[str], None]) -> Endurance:
    """Put the gateway through it: requests over 32 connections, then broken-off streams, in portions.

    Raises StartError where a load generator fails.
    """
    script = write_script(site.folder / "endurance.lua", TASK, target.request_headers)
    _portion(target, script, plan.requests // 5, plan.broken_off // 5)
    before = _calm_state(target, site)
    say(f"endurance: {before.memory_mib:.1f} MiB after the warm-up")
    started = time.monotonic()
    requests = broken_off = failed = 0
    memory: list[float] = []
    for _ in range(plan.portions):
        done = _portion(target, script, plan.requests // plan.portions, plan.broken_off // plan.portions)
        requests, broken_off, failed = requests + done[0], broken_off + done[1], failed + done[2]
        memory.append(resident_mib(target.processes))
        say(f"endurance: {requests:,} requests, {broken_off:,} streams broken off, {memory[-1]:.1f} MiB")
    seconds = time.monotonic() - started
    return Endurance(requests, broken_off, failed, seconds, before, _calm_state(target, site), memory)


def _portion(target: Target, script: Path, requests: int, streams: int) -> tuple[int, int, int]:
    """At least so many requests, and exactly so many streams; returns both counts and how many failed."""
    answered = failed = 0
    rate = 1000.0
    while answered < requests:
        seconds = min(10, math.ceil((requests - answered) / rate))
        load = run_wrk(target.url + CHAT, script, connections=CONNECTIONS, seconds=seconds, core=LOAD_CORE)
        if not load.requests:
            raise StartError(f"{target.name} answers no more")
        answered, failed, rate = answered + load.requests, failed + load.failed, load.requests / load.seconds
    headers = target.request_headers | target.stream_headers
    broken = run_streams(target.url, TASK, headers, core=LOAD_CORE, streams=_STREAMS, break_off=streams)
    return answered, broken.streams, failed + broken.failed


def _calm_state(target: Target, site: Site) -> State:
    """The state once nothing is under way any more, or after 20 seconds as it is then.

    Of several looks the one with the fewest descriptors: a look has a connection of its own, and what refreshes trust
    beside it opens the ledger for a moment. What has leaked is there in all of them.
    """
    deadline = time.monotonic() + _CALM_SECONDS
    looks: list[State] = []
    while len(looks) < _LOOKS:
        state = _state(target, site)
        if not (state.in_flight or state.upstream_streams) or time.monotonic() > deadline:
            looks.append(state)
        time.sleep(0.2)
    return min(looks, key=lambda look: look.descriptors)


def _state(target: Target, site: Site) -> State:
    (worker,) = target.processes
    upstream = urlsplit(site.upstream).port
    connected = [one for one in worker.net_connections("tcp") if one.status == psutil.CONN_ESTABLISHED]
    pooled = sum(one.raddr.port == upstream for one in connected)
    in_flight = read_metrics(f"{target.url}/metrics").get(_IN_FLIGHT)
    if in_flight is None:
        raise StartError(f"the gateway's metrics do not hold {_IN_FLIGHT}")
    return State(
        memory_mib=resident_mib(target.processes),
        descriptors=worker.num_fds() - pooled,
        pooled=pooled,
        threads=worker.num_threads(),
        in_flight=round(sum(in_flight.values())),
        upstream_streams=httpx.get(f"{site.upstream}/stats", timeout=10).json()["streams"],
    )
