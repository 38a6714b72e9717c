"""A process's numbers at one moment, their sum over processes, and Prometheus' text format of it."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, Literal, TypeVar

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from router.metrics.tally import OVERHEAD_SECONDS, SECONDS, StreamTally, Tally

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

Merge = Literal["sum", "max", "min"]
"""How a gauge of several processes becomes one."""

_T = TypeVar("_T", Tally, StreamTally)

_MERGES: Final[Mapping[Merge, Callable[[float, float], float]]] = {"sum": float.__add__, "max": max, "min": min}


class Sample(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One line of the exposition."""

    name: str
    labels: tuple[tuple[str, str], ...]
    value: float


class Family(msgspec.Struct, array_like=True, gc=False):
    """A metric with its samples."""

    name: str
    documentation: str
    type: str
    merge: Merge
    samples: list[Sample]


class Report(msgspec.Struct, array_like=True):
    """All numbers of a process. Counters in it only grow as long as the process lives."""

    tallies: list[Tally] = []
    streams: list[StreamTally] = []
    families: list[Family] = []

    def counters(self) -> Report:
        """What stays when the process is gone: everything but its gauges."""
        return Report(self.tallies, self.streams, [family for family in self.families if family.type != "gauge"])


def read_registry(registry: CollectorRegistry, merges: Mapping[str, Merge]) -> list[Family]:
    """The metrics that prometheus_client keeps; `merges` says how gauges add up, by default as a sum."""
    return [
        Family(
            metric.name,
            metric.documentation,
            metric.type,
            merges.get(metric.name, "sum"),
            [
                Sample(sample.name, tuple(sample.labels.items()), float(sample.value))
                for sample in metric.samples
                if not sample.name.endswith("_created")
            ],
        )
        for metric in registry.collect()
    ]


def merge(reports: Iterable[Report]) -> Report:
    """One report for several processes. The given ones are not altered."""
    given = list(reports)
    return Report(
        _merged_tallies(tally for report in given for tally in report.tallies),
        _merged_tallies(tally for report in given for tally in report.streams),
        _merged_families(family for report in given for family in report.families),
    )


def render(report: Report) -> bytes:
    """Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Shown(report))
    return generate_latest(registry)


def _merged_tallies(tallies: Iterable[_T]) -> list[_T]:
    found: dict[tuple[str, ...], _T] = {}
    for tally in tallies:
        known = found.get(tally.key)
        if known is None:
            found[tally.key] = copy.copy(tally)  # shallow: absorb puts new lists in the place of old ones
        else:
            known.absorb(tally)
    return list(found.values())


def _merged_families(families: Iterable[Family]) -> list[Family]:
    heads: dict[str, Family] = {}
    values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for family in families:
        heads.setdefault(family.name, family)
        found = values.setdefault(family.name, {})
        add = _MERGES[family.merge]
        for sample in family.samples:
            key = sample.name, sample.labels
            found[key] = add(found[key], sample.value) if key in found else sample.value
    return [
        Family(
            name,
            head.documentation,
            head.type,
            head.merge,
            [Sample(*key, value) for key, value in values[name].items()],
        )
        for name, head in heads.items()
    ]


class _Shown(Collector):
    """A report as prometheus_client wants to see it."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def collect(self) -> Iterator[Metric]:
        yield from _exchanges(self._report.tallies)
        yield from _streams(self._report.streams)
        for family in self._report.families:
            metric = Metric(family.name, family.documentation, family.type)
            for sample in family.samples:
                metric.add_sample(sample.name, dict(sample.labels), sample.value)
            yield metric


def _exchanges(tallies: list[Tally]) -> Iterator[Metric]:
    requests = _counter("requests", "Answered requests.", "task", "answered_by", "reason", "code")
    tokens = _counter("tokens", "Tokens.", "task", "answered_by", "direction")
    cost = _counter("cost_dollars", "What the teacher cost.", "task")
    shadows = _counter("shadows", "Exchanges drawn for the teacher to look at.", "task")
    seconds = _histogram(
        "request_seconds", "Time from the request's first byte to the answer's last.", "task", "answered_by"
    )
    overhead = _histogram("overhead_seconds", "Time that the gateway itself took: total minus upstream.", "task")
    for tally in tallies:
        requests.add_metric(tally.key, tally.requests)
    for key, sums in _grouped(tallies, lambda tally: (tally.task, tally.answered_by)).items():
        tokens.add_metric((*key, "in"), sums.prompt_tokens)
        tokens.add_metric((*key, "out"), sums.completion_tokens)
        seconds.add_metric(key, _cumulative(SECONDS, sums.seconds), sums.seconds_sum)
    for key, sums in _grouped(tallies, lambda tally: (tally.task,)).items():
        cost.add_metric(key, sums.cost_dollars)
        shadows.add_metric(key, sums.shadows)
        overhead.add_metric(key, _cumulative(OVERHEAD_SECONDS, sums.overhead), sums.overhead_sum)
    yield from (requests, seconds, overhead, tokens, cost, shadows)


def _streams(tallies: list[StreamTally]) -> Iterator[Metric]:
    first = _histogram(
        "first_byte_seconds", "Streams: time from the request to the first event.", "task", "answered_by"
    )
    broken = _counter(
        "streams_broken", "Streams that did not reach their end, by who left.", "task", "answered_by", "by"
    )
    for tally in tallies:
        first.add_metric(tally.key, _cumulative(SECONDS, tally.first_byte), tally.first_byte_sum)
        broken.add_metric((*tally.key, "client"), tally.broken_by_client)
        broken.add_metric((*tally.key, "upstream"), tally.broken_by_upstream)
    yield from (first, broken)


def _grouped(tallies: list[Tally], key: Callable[[Tally], tuple[str, ...]]) -> dict[tuple[str, ...], Tally]:
    """Tallies summed by coarser labels."""
    groups: dict[tuple[str, ...], Tally] = {}
    for tally in tallies:
        groups.setdefault(key(tally), Tally("", "", "", "")).absorb(tally)
    return groups


def _cumulative(bounds: tuple[float, ...], buckets: list[int]) -> list[tuple[str, float]]:
    """Prometheus' buckets: each holds those below it as well."""
    names = (*map(str, bounds), "+Inf")
    return list(zip(names, map(float, itertools.accumulate(buckets)), strict=True))


def _counter(name: str, documentation: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"tutelage_gateway_{name}", documentation, labels=labels)


def _histogram(name: str, documentation: str, *labels: str) -> HistogramMetricFamily:
    return HistogramMetricFamily(f"tutelage_gateway_{name}", documentation, labels=labels)
