"""The archiver's numbers for Prometheus, read from it at every scrape."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from core.archiver.archiver import Archiver
from core.journal import stream_parts

_COUNTERS = {
    "archived": "Records archived.",
    "duplicates": "Records left out since the archive had them.",
    "unreadable": "Records that could not be decoded, or fit no column; passed over.",
    "conflicts": "Times when another archiver was faster.",
    "trimmed": "Journal entries removed from streams that had grown too long.",
    "forgotten": "Records left out since they must be forgotten.",
}


class ArchiverMetrics(Collector):
    """One archiver's metrics, with a registry of its own. Streams, and so label values, come from the journal."""

    def __init__(self, archiver: Archiver) -> None:
        self._archiver = archiver
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def render(self) -> bytes:
        """Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """The numbers as they are now."""
        up = "1 while journal, ledger and archive can be reached."
        yield GaugeMetricFamily("tutelage_archiver_up", up, value=self._archiver.up)
        for name, documentation in _COUNTERS.items():
            yield CounterMetricFamily(f"tutelage_archiver_{name}", documentation, value=getattr(self._archiver, name))
        labels = ("task", "kind")
        records = GaugeMetricFamily(
            "tutelage_archiver_lag_records", "Records in the journal that are not archived.", labels=labels
        )
        seconds = GaugeMetricFamily(
            "tutelage_archiver_lag_seconds", "At most how old the oldest of them is.", labels=labels
        )
        for stream, lag in self._archiver.lags().items():
            task, kind = stream_parts(stream)
            records.add_metric((task, kind.value), lag.records)
            seconds.add_metric((task, kind.value), lag.seconds)
        yield from (records, seconds)
