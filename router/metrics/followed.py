"""Counters whose numbers somebody else keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

Labels = tuple[str, ...]


class FollowedCounter(Collector):
    """A counter that is read where it is kept. What is read must only ever grow, and its labels be few."""

    def __init__(self, name: str, documentation: str, labels: Labels, registry: CollectorRegistry) -> None:
        self._head = (name, documentation)
        self._labels = labels
        self._children: dict[Labels, Callable[[], float]] = {}
        self._tables: list[Callable[[], Iterable[tuple[Labels, float]]]] = []
        registry.register(self)

    def follow(self, read: Callable[[], float], *labels: str) -> None:
        """Show what `read` returns, under these labels. Raises ValueError where they are not as many as declared."""
        if len(labels) != len(self._labels):
            raise ValueError(f"{self._head[0]} has the labels {self._labels}, not {len(labels)} of them")
        self._children[labels] = read

    def follow_table(self, read: Callable[[], Iterable[tuple[Labels, float]]]) -> None:
        """Show a whole table: pairs of labels and their number."""
        self._tables.append(read)

    def collect(self) -> Iterator[Metric]:
        """The numbers as they are now."""
        family = CounterMetricFamily(*self._head, labels=self._labels)
        for labels, read in self._children.items():
            family.add_metric(labels, read())
        for table in self._tables:
            for labels, value in table():
                family.add_metric(labels, value)
        yield family
