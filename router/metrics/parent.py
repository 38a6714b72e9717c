"""What the parent process adds to `/metrics`: the journal's way out, the workers, and everybody's memory."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from core import locallog
from core.shipper import Shipper
from router.metrics.followed import FollowedCounter
from router.metrics.report import Report, read_registry

_SUMMED: Final = {
    "process_resident_memory_bytes": "Resident memory of all processes of the gateway.",
    "process_open_fds": "Open file descriptors of all processes of the gateway.",
}


class ParentMetrics:
    """The parent's numbers, read when somebody asks for them."""

    def __init__(self, log_folder: Path, shipper: Shipper) -> None:
        self._log_folder = log_folder
        self._registry = CollectorRegistry()
        self._gauge("journal_up", "1 while Redis takes what is shipped.", lambda: shipper.redis_up)
        self._gauge("journal_lag_bytes", "Bytes of the local log not yet in the journal.", lambda: shipper.lag_bytes)
        self._counter("journal_shipped", "Records shipped, those shipped again included.", lambda: shipper.shipped)
        self._counter("journal_unreadable", "Records passed over: no records of ours.", lambda: shipper.unreadable)
        self._counter("journal_damaged", "Damaged places of the local log, passed over.", lambda: shipper.corrupt)
        self._gauge(
            "journal_lag_seconds", "At most how old the oldest record is of these.", lambda: shipper.lag_seconds
        )
        self._gauge("journal_held", "1 while a full stream waits for the archive.", lambda: shipper.held)
        self._counter(
            "log_segments_sacrificed",
            "Segments deleted for want of space that were in the journal, and not archived yet.",
            lambda: shipper.sacrificed,
        )
        self._log_bytes = Gauge(
            "tutelage_gateway_log_bytes", "Bytes of the local log not yet archived.", registry=self._registry
        )
        cpu = FollowedCounter("process_cpu_seconds", "CPU time of all processes of the gateway.", (), self._registry)
        cpu.follow(time.process_time)

    def follow_workers(self, pids: Callable[[], Sequence[int]], restarts: Callable[[], int]) -> None:
        """Show how many workers live, how often one was replaced, and what memory all processes hold."""
        self._gauge("workers", "Workers that live.", lambda: len(pids()))
        self._counter("worker_restarts", "Workers that died and were replaced.", restarts)
        self._registry.register(_Processes(pids))

    async def report(self) -> Report:
        """All numbers as they are now. Their names are none of a worker's, but for those that add up."""
        self._log_bytes.set(await asyncio.to_thread(locallog.used_bytes, self._log_folder))
        return Report(families=read_registry(self._registry, {}))

    def _gauge(self, name: str, documentation: str, read: Callable[[], float]) -> None:
        Gauge(f"tutelage_gateway_{name}", documentation, registry=self._registry).set_function(read)

    def _counter(self, name: str, documentation: str, read: Callable[[], float]) -> None:
        FollowedCounter(f"tutelage_gateway_{name}", documentation, (), self._registry).follow(read)


class _Processes(Collector):
    """Memory and descriptors of this process and its workers, summed; nothing where the system does not tell."""

    def __init__(self, pids: Callable[[], Sequence[int]]) -> None:
        self._pids = pids

    def collect(self) -> Iterator[Metric]:
        sums: dict[str, float] = {}
        for pid in (os.getpid(), *self._pids()):
            for sample in _samples_of(pid):
                sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
        for name, documentation in _SUMMED.items():
            if name in sums:
                yield GaugeMetricFamily(name, documentation, value=sums[name])


def _samples_of(pid: int) -> list[Sample]:
    collector = ProcessCollector(pid=lambda: pid, registry=None)
    return [sample for metric in collector.collect() for sample in metric.samples]
