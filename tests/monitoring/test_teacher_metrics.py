"""What Prometheus is told of the teacher, and that recent agreement is unknown once nothing renews it."""

from __future__ import annotations

import math

import msgspec
import pytest

from core.journal import Journal
from core.lease import Leases
from core.records import Outcome
from monitoring.alarms import Reviewer
from monitoring.exposition import Page
from monitoring.metrics.agreement import draw_agreement
from monitoring.metrics.teacher import draw_teacher
from monitoring.reader import TaskReader
from tests.support.monitoring_world import NOON, World, task_settings, trust_rows

HOUR = 3600.0


@pytest.fixture
async def reader(ledger, world: World):
    nowhere = "redis://127.0.0.1:9/0"
    reader = TaskReader(
        "desk", task_settings(), Journal.connect(nowhere), Leases(nowhere), ledger, snapshot_seconds=1.0
    )
    reader.state.begin("1", reader.rules, {row.label: row for row in trust_rows()})
    for _ in range(300):
        exchange, comparison = world.pair(drawn=True)
        reader.state.observe_exchange(exchange, reader.rules)
        assert comparison is not None
        again = msgspec.structs.replace(
            comparison, again=Outcome.ANSWERED, again_probability=0.5, teacher_again=comparison.teacher_label
        )
        reader.state.observe(again, reader.rules)
    return reader


def drawn(reader: TaskReader, draw) -> dict[str, float]:
    """The values of all series, by name and labels."""
    page = Page("desk")
    draw(page, reader)
    lines = [line for family in page.families.values() for line in family.lines]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


async def test_the_noise_ceiling_has_its_interval(reader):
    found = drawn(reader, draw_teacher)
    ceiling = [found[f'tutelage_monitor_noise_ceiling{end}{{task="desk"}}'] for end in ("_lower", "", "_upper")]
    assert ceiling == sorted(ceiling)
    assert ceiling[0] > 0.95
    assert ceiling[1:] == [1.0, 1.0]
    assert found['tutelage_monitor_attainable_agreement{task="desk"}'] == 1.0
    assert found['tutelage_monitor_repeats{task="desk",outcome="answered"}'] == 300
    assert math.isnan(found['tutelage_monitor_teacher_drift_agreement{task="desk"}'])
    assert math.isnan(found['tutelage_monitor_teacher_drift_last_asked_timestamp_seconds{task="desk"}'])
    assert found['tutelage_monitor_teacher_drift_changed{task="desk"}'] == 0


async def test_recent_agreement_is_unknown_once_nothing_renews_it(reader, ledger):
    reviewer = Reviewer("desk", ledger, reader.rules, task_settings().watch)
    recent = 'tutelage_monitor_agreement{task="desk",version="1",estimand="%s",span="recent"}'
    whole = 'tutelage_monitor_agreement{task="desk",version="1",estimand="student",span="version"}'
    for hours, known in ((1, True), (23, True), (25, False)):
        reviewer.review(reader.state, NOON + 300 + hours * HOUR)
        found = drawn(reader, draw_agreement)
        assert [math.isnan(found[recent % one]) for one in ("student", "served")] == [not known] * 2
        assert not math.isnan(found[whole])
