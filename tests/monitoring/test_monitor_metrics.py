"""The metrics: what they say, and that their labels are closed."""

from __future__ import annotations

import math
import re

from prometheus_client.parser import text_string_to_metric_families

from core.journal import Journal
from core.lease import Leases
from monitoring.exposition import Page, render
from monitoring.metrics import Metrics
from monitoring.reader import TaskReader
from tests.support.monitoring_world import LABELS, World, task_settings

ALLOWED = {"band", "task", "version", "class", "estimand", "span", "outcome", "answered_by", "signal", "cause"} | {
    "band",
    "who",
    "source",
    "judge",
    "confidence",
    "why",
    "answerer",
    "by",
    "cell",
    "bins",
    "bin",
    "state",
    "right",
    "le",
    "part",
}


def families(text: bytes):
    return {family.name: family for family in text_string_to_metric_families(text.decode())}


def written(*pages: Page) -> bytes:
    for page in pages:
        page.finish()
    return render(pages)


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
    for _ in range(3000):
        exchange, comparison = world.pair()
        reader.state.observe_exchange(exchange, reader.rules)
        if comparison is not None:
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
    page, other = Page('x"\\\ny'), Page("z")
    page.gauge("a", "Text.", None)
    page.counter("b_total", "More.", 3, {"class": "c"})
    other.gauge("a", "Text.", 2)
    text = written(page, other).decode()
    assert text.splitlines() == [
        "# HELP tutelage_monitor_a Text.",
        "# TYPE tutelage_monitor_a gauge",
        'tutelage_monitor_a{task="x\\"\\\\\\ny"} NaN',
        'tutelage_monitor_a{task="z"} 2.0',
        "# HELP tutelage_monitor_b_total More.",
        "# TYPE tutelage_monitor_b_total counter",
        'tutelage_monitor_b_total{task="x\\"\\\\\\ny",class="c"} 3.0',
    ]
    assert re.fullmatch(r"[\x20-\x7e\n]+", text)


def test_lines_are_kept_as_long_as_their_stamp():
    drawn = []

    def draw(part: Page) -> None:
        drawn.append(1)
        part.gauge("a", "Text.", len(drawn))

    page = Page("x")
    page.keep("key", 1, draw)
    again = Page("x", page)
    again.keep("key", 1, draw)
    assert written(again) == written(page)
    moved = Page("x", again)
    moved.keep("key", 2, draw)
    assert written(moved).endswith(b" 2.0\n")
    after_a_gap = Page("x", Page("x", moved))
    after_a_gap.keep("key", 2, draw)
    assert len(drawn) == 3, "what one page did not draw is forgotten"
