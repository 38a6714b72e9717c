"""The gateway's own metrics. Label sets are closed: tasks from the settings, reasons from the enumeration."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from core.records import Exchange
from router.sampling import Sampler

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_OVERHEAD_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25)


class Metrics:
    """One set of metrics, with a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "tutelage_gateway_requests",
            "Answered requests.",
            ("task", "answered_by", "reason", "code"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "tutelage_gateway_request_seconds",
            "Time from the request's first byte to the answer's last.",
            ("task", "answered_by"),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._overhead = Histogram(
            "tutelage_gateway_overhead_seconds",
            "Time that the gateway itself took: total minus upstream.",
            ("task",),
            buckets=_OVERHEAD_SECONDS,
            registry=self._registry,
        )
        self._tokens = Counter(
            "tutelage_gateway_tokens", "Tokens.", ("task", "answered_by", "direction"), registry=self._registry
        )
        self._cost = Counter(
            "tutelage_gateway_cost_dollars", "What the teacher cost.", ("task",), registry=self._registry
        )
        self._feedback = Counter("tutelage_gateway_feedback", "Feedback received.", ("task",), registry=self._registry)
        self._shadows = Counter(
            "tutelage_gateway_shadows",
            "Exchanges drawn for the teacher to look at.",
            ("task",),
            registry=self._registry,
        )
        self._scale = Gauge(
            "tutelage_gateway_shadow_scale",
            "What the budget leaves of every sampling probability: 1 where it is not felt.",
            ("task",),
            registry=self._registry,
        )
        self._errors = Counter(
            "tutelage_gateway_errors", "Requests refused or failed.", ("code", "status"), registry=self._registry
        )
        self.records_dropped = Counter(
            "tutelage_gateway_records_dropped", "Records that the local log could not take.", registry=self._registry
        )
        self.in_flight = Gauge("tutelage_gateway_in_flight", "Requests under way.", registry=self._registry)
        self.student_up = Gauge(
            "tutelage_gateway_student_up", "1 where the student server answers.", registry=self._registry
        )
        self.trusted_classes = Gauge(
            "tutelage_gateway_trusted_classes",
            "Classes that the champion may answer.",
            ("task",),
            registry=self._registry,
        )
        self.log_bytes = Gauge(
            "tutelage_gateway_log_bytes", "Bytes of the local log not yet archived.", registry=self._registry
        )

    def exchange(self, record: Exchange) -> None:
        """Count one finished exchange."""
        self._requests.labels(record.task, record.answered_by, record.reason, str(record.status)).inc()
        self._seconds.labels(record.task, record.answered_by).observe(record.total_ms / 1000)
        self._overhead.labels(record.task).observe(max(record.total_ms - record.upstream_ms, 0.0) / 1000)
        self._tokens.labels(record.task, record.answered_by, "in").inc(record.usage.prompt_tokens)
        self._tokens.labels(record.task, record.answered_by, "out").inc(record.usage.completion_tokens)
        self._cost.labels(record.task).inc(record.cost_usd)
        if record.shadow:
            self._shadows.labels(record.task).inc()

    def follow_scale(self, task: str, sampler: Sampler) -> None:
        """Show the sampler's scale at every scrape."""
        self._scale.labels(task).set_function(lambda: sampler.scale)

    def error(self, status: int, code: str | None) -> None:
        """Count one error answer. `code` is one of the error tree's, hence bounded."""
        self._errors.labels(code or "none", str(status)).inc()

    def feedback(self, task: str) -> None:
        """Count one piece of feedback."""
        self._feedback.labels(task).inc()

    def render(self) -> bytes:
        """Prometheus' text format."""
        return generate_latest(self._registry)
