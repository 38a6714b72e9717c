"""What the student saves, and how long clients wait: in the state, and as metrics."""

from __future__ import annotations

import math
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from core.journal import Journal
from core.lease import Leases
from core.ledger import GoldenExample, GoldenSet
from core.prices import Price
from core.records import Answerer, Exchange, Reason, Usage
from monitoring.alarms import Reviewer
from monitoring.metrics import Metrics
from monitoring.money import Money
from monitoring.reader import TaskReader
from monitoring.rules import rules_of
from monitoring.speed import BUCKETS, Speed
from monitoring.state import TaskState
from tests.support.monitoring_world import NOON, World, task_settings

PRICE = Price(2.0, 8.0, "a test")


def answered(by: Answerer, **changes) -> Exchange:
    return Exchange("ex_1", "desk", NOON, by, Reason.CHAMPION, 200, **changes)


def test_what_the_student_answers_is_worth_the_teachers_price():
    money = Money()
    money.price_at(PRICE)
    money.add(answered(Answerer.STUDENT, usage=Usage(1_000_000, 500_000)))
    money.add(answered(Answerer.TEACHER, usage=Usage(3, 3), cost_usd=0.5))
    money.golden = 0.25
    _, comparison = World().pair(drawn=True)
    assert comparison is not None
    money.add_comparison(msgspec.structs.replace(comparison, cost_usd=1.0))
    assert (money.saved, money.fallback, money.watching, money.net) == (6.0, 0.5, 1.25, 4.75)


def test_without_a_price_or_a_count_of_tokens_nothing_is_made_up():
    money = Money()
    money.add(answered(Answerer.STUDENT, usage=Usage(10, 1)))
    assert not money.is_priced
    money.price_at(PRICE)
    money.add(answered(Answerer.STUDENT))
    money.add(answered(Answerer.STUDENT, usage=Usage(10, 0)))
    assert money.unvalued == 2
    assert money.saved == pytest.approx(2e-5)
    money.price_at(Price(20.0, 8.0, "another"))
    assert money.saved == pytest.approx(2e-5), "what was saved is not valued anew"


def test_a_teacher_that_costs_nothing_has_a_price():
    money = Money()
    money.price_at(Price(0.0, 0.0, "served by Tutelage itself"))
    money.add(answered(Answerer.STUDENT, usage=Usage(10, 1)))
    assert (money.is_priced, money.net) == (True, 0.0)


def test_each_round_of_the_golden_set_is_paid_once(ledger):
    settings, state = task_settings(), TaskState("desk")
    reviewer = Reviewer("desk", ledger, rules_of(settings), settings.watch)
    for number in (1, 2):
        frozen = GoldenSet("desk", number, "files", "t", "d", NOON)
        assert ledger.golden.freeze(frozen, [GoldenExample(0, "a", "c0")])
        for at in range(2):
            asked = ledger.golden.begin_round("desk", number, "me", NOON)
            assert asked is not None
            done = replace(asked, finished=NOON + 1, answers={0: "c0"}, cost_usd=0.1)
            assert ledger.golden.save_round(done)
            now = NOON + 1000 * number + 100 * at
            reviewer.review(state, now)
            reviewer.review(state, now + 1)
    assert state.money.golden == pytest.approx(0.4)
    again = TaskState("desk", money=msgspec.structs.replace(state.money), golden=state.golden)
    reviewer.review(again, NOON + 9000)
    assert again.money.golden == pytest.approx(0.4)


@given(st.lists(st.floats(0, 200_000), max_size=30))
def test_every_time_is_in_one_bucket(times):
    speed = Speed()
    for time in times:
        speed.add(answered(Answerer.TEACHER, total_ms=time))
    histogram = speed.of(Answerer.TEACHER)
    assert sum(histogram.counts) == len(times)
    assert sum(speed.of(Answerer.STUDENT).counts) == 0
    for at, edge in enumerate(BUCKETS):
        assert sum(histogram.counts[: at + 1]) == sum(time <= 1000 * edge for time in times)


async def test_both_are_exported(ledger):
    nowhere = "redis://127.0.0.1:9/0"
    settings = task_settings()
    reader = TaskReader("desk", settings, Journal.connect(nowhere), Leases(nowhere), ledger, snapshot_seconds=1.0)
    metrics, state = Metrics([reader]), reader.state
    state.observe_exchange(answered(Answerer.STUDENT, usage=Usage(100, 1), total_ms=4.0), reader.rules)
    metrics.draw()
    found = {family.name: family for family in text_string_to_metric_families(metrics.text.decode())}
    names = [f"tutelage_monitor_{name}_dollars" for name in ("saved", "shadow", "fallback", "net_saved")]
    assert all(math.isnan(found[name].samples[0].value) for name in names), "nobody knows the price of this teacher"
    assert found["tutelage_monitor_unvalued_answers"].samples[0].value == 1
    state.money.price_at(PRICE)
    state.observe_exchange(answered(Answerer.STUDENT, usage=Usage(1_000_000, 0), total_ms=4.0), reader.rules)
    state.observe_exchange(answered(Answerer.TEACHER, cost_usd=0.5, total_ms=70_000.0), reader.rules)
    metrics.draw()
    found = {family.name: family for family in text_string_to_metric_families(metrics.text.decode())}
    assert [found[name].samples[0].value for name in names] == [2.0, 0.0, 0.5, 2.0]
    times = found["tutelage_monitor_answer_seconds"]
    assert times.type == "histogram"
    samples = {
        (sample.name.rpartition("_")[2], sample.labels["answerer"], sample.labels.get("le")): sample.value
        for sample in times.samples
    }
    assert samples["bucket", "student", "0.002"] == 0
    assert samples["bucket", "student", "0.005"] == samples["count", "student", None] == 2
    assert samples["bucket", "teacher", "60.0"] == 0
    assert samples["bucket", "teacher", "+Inf"] == 1
    assert samples["sum", "teacher", None] == 70.0
