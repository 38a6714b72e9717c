"""The metrics: what they say, and that their labels are closed."""

from __future__ import annotations

import math
import re

from prometheus_client.parser import text_string_to_metric_families

from core.journal import Journal
from core.lease import Leases
from monitoring.exposition import Exposition
from monitoring.metrics import Metrics
from monitoring.reader import TaskReader
from tests.support.monitoring_world import LABELS, World, task_settings

ALLOWED = {"task", "version", "class", "estimand", "span", "outcome", "answered_by", "signal", "cause"}


def families(text: bytes):
    return {family.name: family for family in text_string_to_metric_families(text.decode())}


async def test_the_page_says_how_the_task_is_doing(ledger, world: World):
    nowhere = "redis://127.0.0.1:9/0"
    reader = TaskReader(
        "desk", task_settings(), Journal.connect(nowhere), Leases(nowhere), ledger, snapshot_seconds=1.0
    )
    metrics = Metrics([reader])
    metrics.draw()
    empty = families(metrics.text)
    assert "tutelage_monitor_agreement" not in empty
    assert math.isnan(empty["tutelage_monitor_last_comparison_timestamp_seconds"].samples[0].value)
    reader.state.begin("1", reader.rules, {})
    for _ in range(300):
        exchange, comparison = world.pair(drawn=True)
        reader.state.observe_exchange(exchange, reader.rules)
        assert comparison is not None
        reader.state.observe(comparison, reader.rules)
    metrics.draw()
    first = metrics.text
    found = families(first)
    assert all(name.startswith("tutelage_monitor_") for name in found)
    samples = [sample for family in found.values() for sample in family.samples]
    assert {label for sample in samples for label in sample.labels} <= ALLOWED
    classes = {sample.labels["class"] for sample in samples if "class" in sample.labels}
    assert classes == set(LABELS)
    agreement = {(s.labels["estimand"], s.labels["span"]): s.value for s in found["tutelage_monitor_agreement"].samples}
    assert 0.85 < agreement["student", "version"] < 0.98
    assert set(agreement) == {(e, s) for e in ("student", "served") for s in ("version", "recent")}
    lower, upper = (found[f"tutelage_monitor_agreement_{end}"].samples[0].value for end in ("lower", "upper"))
    assert lower < agreement["student", "version"] < upper
    metrics.draw()
    assert metrics.text == first


def test_the_text_is_escaped_and_nothing_known_is_nan():
    page = Exposition()
    page.gauge("a", "Text.", None, {"task": 'x"\\\ny'})
    page.counter("b_total", "More.", 3, {"task": "x"})
    text = page.render().decode()
    assert text.splitlines() == [
        "# HELP a Text.",
        "# TYPE a gauge",
        'a{task="x\\"\\\\\\ny"} NaN',
        "# HELP b_total More.",
        "# TYPE b_total counter",
        'b_total{task="x"} 3.0',
    ]
    assert re.fullmatch(r"[\x20-\x7e\n]+", text)
