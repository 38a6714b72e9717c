"""Prometheus series of the student server."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class StudentMetrics:
    """All series, in a registry of their own: two servers in one process do not mix."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "tutelage_student_requests",
            "Chat completions, by HTTP status.",
            ("task", "version", "code"),
            registry=self._registry,
        )
        self.batch_size = Histogram(
            "tutelage_student_batch_size", "Texts in one pass.", ("task",), buckets=_SIZES, registry=self._registry
        )
        self.queue_seconds = Histogram(
            "tutelage_student_queue_seconds",
            "Time that a text waited for its pass.",
            ("task",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.model_seconds = Histogram(
            "tutelage_student_model_seconds",
            "Time of one pass through the model.",
            ("task",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.swaps = Counter(
            "tutelage_student_swaps",
            "Versions that took over an alias.",
            ("task", "alias"),
            registry=self._registry,
        )
        self.swap_failures = Counter(
            "tutelage_student_swap_failures",
            "Versions that could not be fetched, loaded, or did not pass their probe; the old one keeps answering.",
            ("task", "alias"),
            registry=self._registry,
        )
        self.version_info = Gauge(
            "tutelage_student_version_info",
            "1 for the version loaded under an alias.",
            ("task", "alias", "version"),
            registry=self._registry,
        )

    def render(self) -> bytes:
        """The text that Prometheus scrapes."""
        return generate_latest(self._registry)
