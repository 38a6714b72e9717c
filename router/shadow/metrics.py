"""The shadow worker's own metrics. Label sets are closed: tasks from the settings, outcomes from the enumeration."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from core.records import Comparison, Outcome


class ShadowMetrics:
    """One set of metrics, with a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._comparisons = Counter(
            "tutelage_shadow_comparisons",
            "Comparisons written, by what came of asking the teacher.",
            ("task", "outcome"),
            registry=self._registry,
        )
        self._cost = Counter(
            "tutelage_shadow_cost_dollars", "What shadow calls cost.", ("task",), registry=self._registry
        )
        self._challenged = Counter(
            "tutelage_shadow_challenged",
            "Comparisons that hold a challenger's answer too.",
            ("task",),
            registry=self._registry,
        )
        self._repeats = Counter(
            "tutelage_shadow_repeats",
            "Comparisons for which the teacher was asked a second time, by what came of that.",
            ("task", "outcome"),
            registry=self._registry,
        )
        self._golden = Counter(
            "tutelage_shadow_golden_questions",
            "Texts of the golden set that the teacher was asked, by what came of that.",
            ("task", "outcome"),
            registry=self._registry,
        )
        self._golden_cost = Counter(
            "tutelage_shadow_golden_cost_dollars",
            "What asking the golden set cost.",
            ("task",),
            registry=self._registry,
        )
        self.claimed = Counter(
            "tutelage_shadow_claimed",
            "Batches taken over from workers that were not heard of any more.",
            ("task",),
            registry=self._registry,
        )
        self.lost = Counter(
            "tutelage_shadow_lost",
            "Batches trimmed from the journal before any worker was done with them.",
            ("task",),
            registry=self._registry,
        )
        self.swept = Counter(
            "tutelage_shadow_swept",
            "Exchanges that the journal had lost before they were compared, found in the archive.",
            ("task",),
            registry=self._registry,
        )
        self.unreadable = Counter(
            "tutelage_shadow_unreadable", "Records that could not be decoded.", ("task",), registry=self._registry
        )
        self.redis_up = Gauge("tutelage_shadow_redis_up", "1 while Redis answers.", ("task",), registry=self._registry)
        self._under_way = Gauge(
            "tutelage_shadow_under_way", "Comparisons being made or waiting.", ("task",), registry=self._registry
        )
        self._pauses = Gauge(
            "tutelage_shadow_pauses", "Times that the teacher had no room.", ("task",), registry=self._registry
        )

    def comparison(self, record: Comparison) -> None:
        """Count one comparison."""
        self._comparisons.labels(record.task, record.outcome).inc()
        self._cost.labels(record.task).inc(record.cost_usd)
        if record.challenger is not None:
            self._challenged.labels(record.task).inc()
        if record.again is not None:
            self._repeats.labels(record.task, record.again).inc()

    def golden(self, task: str, outcomes: Mapping[Outcome, int], cost_usd: float) -> None:
        """Count texts of the golden set that were asked."""
        for outcome, count in outcomes.items():
            self._golden.labels(task, outcome).inc(count)
        self._golden_cost.labels(task).inc(cost_usd)

    def follow(self, task: str, under_way: Callable[[], float], pauses: Callable[[], float]) -> None:
        """Show these at every scrape."""
        self._under_way.labels(task).set_function(under_way)
        self._pauses.labels(task).set_function(pauses)

    def render(self) -> bytes:
        """Prometheus' text format."""
        return generate_latest(self._registry)
