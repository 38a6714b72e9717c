"""`docs/metrics.md`: every series of every role, from what the roles really say.

Made by `python -m tests.support.metrics_page > docs/metrics.md`.
The monitor's page is drawn from a state in which everything is known once; the others' families stand in their
registries from the start.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, NamedTuple, cast

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from core.archiver.metrics import ArchiverMetrics
from core.journal import Journal
from core.labels import pack_floats
from core.lease import Leases
from core.ledger import Ledger
from core.records import Answerer, Feedback, Outcome
from core.shipper import Shipper
from monitoring.drift.score import judge_window
from monitoring.feedback.answered import answered_of
from monitoring.metrics import Metrics as MonitorMetrics
from monitoring.reader import TaskReader
from router.metrics import Metrics as GatewayMetrics
from router.metrics.parent import ParentMetrics
from router.shadow.metrics import ShadowMetrics
from server.metrics import StudentMetrics
from tests.support.drift_world import Inputs
from tests.support.monitoring_world import LABELS, World, task_settings, trust_rows

HEAD: Final = """# Metrics

Every series that a role exposes at `/metrics`, for Prometheus. Times are in seconds, sizes in bytes, money in dollars,
shares between 0 and 1. Label sets are closed: tasks, versions and classes of the settings, and enumerations; whatever
else a word might be is `other`. What is not known is `NaN`, never the last good value. A histogram has the series
`_bucket` (with `le`), `_sum` and `_count`.

This page is made from what the roles say by `python -m tests.support.metrics_page > docs/metrics.md`; a test compares.
"""


class Series(NamedTuple):
    """One family, as it is documented."""

    name: str
    type: str
    labels: tuple[str, ...]
    text: str


def page() -> str:
    """The whole page, as Markdown."""
    lines = [HEAD]
    for role, found in roles().items():
        lines += [f"## {role}", "", "| metric | type | labels | meaning |", "| --- | --- | --- | --- |"]
        for one in sorted(found):
            labels = ", ".join(f"`{label}`" for label in one.labels)
            text = one.text.replace("|", "\\|")
            lines.append(f"| `{one.name}` | {one.type} | {labels} | {text} |")
        lines.append("")
    return "\n".join(lines)


def roles() -> dict[str, set[Series]]:
    """What each role exposes."""
    with tempfile.TemporaryDirectory(prefix="tutelage-metrics-") as folder:
        ledger = Ledger(f"sqlite:///{folder}/ledger.db")
        ledger.migrate()
        try:
            monitor = asyncio.run(_monitor(ledger))
            gateway = asyncio.run(_gateway(Path(folder)))
        finally:
            ledger.close()
    return {
        "Gateway": gateway,
        "Student server": set(_of_registry(StudentMetrics()._registry)),  # nobody else has it
        "Shadow worker": set(_of_registry(ShadowMetrics()._registry)),
        "Archiver": set(_of_metrics(ArchiverMetrics(cast("Any", _Archiver())).collect())),
        "Monitor": monitor,
    }


async def _gateway(folder: Path) -> set[Series]:
    """The workers' numbers and those of the parent process, which are one page."""
    world, metrics = World(), GatewayMetrics(["desk"])
    exchange, _ = world.pair()
    metrics.exchange(exchange)
    metrics.stream("desk", Answerer.TEACHER).began(0.1)
    shipper = SimpleNamespace(
        redis_up=1, lag_bytes=0, shipped=0, unreadable=0, corrupt=0, lag_seconds=0.0, held=0, sacrificed=0
    )
    parent = ParentMetrics(folder, cast("Shipper", shipper))
    parent.follow_workers(lambda: (), lambda: 0)
    registries = (metrics._registry, parent._registry)  # what has no sample yet is on no page
    shown = _of_text(metrics.render())
    named = {one.name for registry in registries for one in _of_registry(registry)}
    tallied = {one for one in shown if one.name not in named}
    return tallied | {one for registry in registries for one in _of_registry(registry)}


async def _monitor(ledger: Ledger) -> set[Series]:
    """A task of which everything is known once: comparisons, second questions, feedback, a drift window, reports."""
    nowhere = "redis://127.0.0.1:9/0"
    settings = task_settings(drift_window=1000, drift_window_minutes=0, drift_reference_hours=0)
    journal, leases = Journal.connect(nowhere), Leases(nowhere)
    reader = TaskReader("desk", settings, journal, leases, ledger, snapshot_seconds=1.0)
    reader.state.begin("1", reader.rules, {row.label: row for row in trust_rows()})
    _compare(reader)
    _drift(reader)
    metrics = MonitorMetrics([reader])
    metrics.draw()
    await journal.close()
    await leases.close()
    return _of_text(metrics.text)


def _compare(reader: TaskReader) -> None:
    """Comparisons with distributions and second questions, and feedback about every third."""
    world, state, rules = World(), reader.state, reader.rules
    rest = 0.2 / (len(LABELS) - 1)
    for number in range(600):
        exchange, comparison = world.pair(drawn=True)
        if comparison is None:
            raise AssertionError("a drawn exchange is compared")
        spread = pack_floats([0.8 if name == comparison.student.label else rest for name in LABELS])
        student = msgspec.structs.replace(comparison.student, label_set=rules.label_set, distribution=spread)
        state.observe_exchange(exchange, rules)
        told = msgspec.structs.replace(
            comparison,
            student=student,
            teacher_distribution=spread,
            again=Outcome.ANSWERED,
            again_probability=0.5,
            teacher_again=comparison.teacher_label,
        )
        state.observe(told, rules)
        if number % 3 == 0:
            given = Feedback(f"fb_{number}", "desk", exchange.id, exchange.label or "", exchange.at)
            state.feedback.take(given)
            state.feedback.settle(state.feedback.waiting[given.id], answered_of(exchange, rules), False, rules)
    state.feedback.look()


def _drift(reader: TaskReader) -> None:
    """One window beside the reference."""
    inputs, drift, rules = Inputs(len(LABELS)), reader.state.drift, reader.rules.drift
    while drift.last is None:
        exchange = inputs.exchange()
        if exchange.student is None:
            raise AssertionError("the student is asked about every input")
        drift.add(exchange, exchange.student, rules)
        if drift.full is not None and drift.reference is not None:
            window, drift.full = drift.full, None
            verdict = judge_window(drift.reference, window, drift.season, list(drift.unsure), rules, seed=1)
            drift.note(verdict, window, rules)


def _of_text(text: bytes) -> set[Series]:
    found = set()
    for family in text_string_to_metric_families(text.decode()):
        found.add(_series(family, {label for sample in family.samples for label in sample.labels}))
    return found


def _of_registry(registry: CollectorRegistry) -> Iterator[Series]:
    for collector in tuple(registry._collector_to_names):  # a page shows no labels without samples
        labels = getattr(collector, "_labelnames", getattr(collector, "_labels", ()))
        for metric in collector.collect():
            yield _series(metric, labels or getattr(metric, "_labelnames", ()))


def _of_metrics(metrics: Iterable[Metric]) -> Iterator[Series]:
    for metric in metrics:
        yield _series(metric, getattr(metric, "_labelnames", ()))


def _series(metric: Metric, labels: Iterable[str]) -> Series:
    name = f"{metric.name}_total" if metric.type == "counter" else metric.name
    kept = set(labels) - {"le"}
    order = ("task", "version", "class")
    ordered = (*(one for one in order if one in kept), *sorted(kept.difference(order)))
    return Series(name, metric.type, ordered, metric.documentation)


class _Archiver:
    """An archiver that has done nothing yet."""

    up = True

    def __getattr__(self, name: str) -> int:
        return 0

    def lags(self) -> dict[str, Any]:
        return {}


if __name__ == "__main__":
    sys.stdout.write(page())
