"""What the page says of feedback, calibration and expected agreement."""

from __future__ import annotations

import math

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from core.journal import Journal
from core.labels import pack_floats
from core.lease import Leases
from core.records import Answerer, Feedback
from monitoring.feedback.answered import answered_of
from monitoring.feedback.state import FeedbackOutcome
from monitoring.metrics import Metrics
from monitoring.reader import TaskReader
from tests.support.monitoring_world import LABELS, World, task_settings

PREFIX = "tutelage_monitor_"


class Page:
    """The samples of a page, by family and labels."""

    def __init__(self, reader: TaskReader) -> None:
        metrics = Metrics([reader])
        metrics.draw()
        families = text_string_to_metric_families(metrics.text.decode())
        self.samples = [(sample.name, sample.labels, sample.value) for family in families for sample in family.samples]

    def value(self, name: str, **labels: str) -> float:
        (found,) = self.values(name, **labels)
        return found

    def values(self, name: str, **labels: str) -> list[float]:
        wanted = labels.items()
        return [value for found, its, value in self.samples if found == PREFIX + name and wanted <= its.items()]


@pytest.fixture
def reader(ledger) -> TaskReader:
    nowhere = "redis://127.0.0.1:9/0"
    return TaskReader("desk", task_settings(), Journal.connect(nowhere), Leases(nowhere), ledger, snapshot_seconds=1.0)


def watch(reader: TaskReader, world: World, count: int) -> None:
    """Compared exchanges, every fifth answered by the teacher, with feedback about most of class 0 and few others."""
    state, rules = reader.state, reader.rules
    state.begin("1", rules, {})
    rest = 0.2 / (len(LABELS) - 1)
    for i in range(count):
        exchange, comparison = world.pair(drawn=True)
        assert comparison is not None
        student = msgspec.structs.replace(
            comparison.student,
            label_set=rules.label_set,
            distribution=pack_floats([0.8 if name == comparison.student.label else rest for name in LABELS]),
        )
        if i % 5 == 0:
            exchange = msgspec.structs.replace(exchange, answered_by=Answerer.TEACHER)
        state.observe_exchange(exchange, rules)
        state.observe(msgspec.structs.replace(comparison, student=student), rules)
        if world.rng.random() < (0.9 if exchange.label == LABELS[0] else 0.2):
            label = (exchange.label if i % 10 else LABELS[1]) or ""
            given = Feedback(f"fb_{i}", "desk", exchange.id, label, exchange.at)
            state.feedback.take(given)
            pending = state.feedback.waiting[given.id]
            state.feedback.settle(pending, answered_of(exchange, rules), False, rules)
    state.feedback.look()


def test_before_anything_is_known_it_says_so(reader):
    page = Page(reader)
    assert {page.value("feedback_total", outcome=outcome.value) for outcome in FeedbackOutcome} == {0.0}
    assert math.isnan(page.value("last_feedback_timestamp_seconds"))
    assert not page.values("feedback_accuracy")


def test_feedback_is_told_with_what_is_missing(reader, world: World):
    watch(reader, world, 800)
    page, feedback = Page(reader), reader.state.feedback.versions["1"]
    for whose in ("student", "teacher", "withheld"):
        counts = getattr(feedback, whose).counts
        assert page.value("feedback_answers", answerer=whose) == counts.total > 0
        accuracy = page.value("feedback_accuracy", answerer=whose, span="version")
        assert accuracy == pytest.approx(counts.accuracy)
        low, high = (
            page.value(f"feedback_accuracy_{end}", answerer=whose, span="version") for end in ("lower", "upper")
        )
        assert low < accuracy <= high
    least, most = (page.value(f"feedback_accuracy_{end}", answerer="student") for end in ("least", "most"))
    share = page.value("feedback_share", by="answered_by", cell="student")
    assert most - least == pytest.approx(1 - share)
    assert page.value("feedback_share", by="class", cell=LABELS[0]) > 0.8
    assert page.value("feedback_uneven", by="class") == 1
    assert page.value("feedback_uneven", by="answered_by") == 0
    assert 0 < page.value("feedback_mix_distance", by="class") < 1
    assert len(page.values("feedback_f1")) == len(feedback.student.counts.labels)
    precision = page.value("feedback_precision", **{"class": LABELS[0]})
    assert page.value("feedback_precision_lower", **{"class": LABELS[0]}) < precision
    assert 0 < page.value("feedback_accuracy_reweighted") <= 1


def test_calibration_stands_beside_its_noise_and_cbpe_beside_agreement(reader, world: World):
    watch(reader, world, 800)
    page = Page(reader)
    for bins in ("equal_width", "equal_mass"):
        mean, upper = page.value("ece_by_chance", bins=bins), page.value("ece_by_chance_upper", bins=bins)
        assert 0 < mean < upper < page.value("ece", bins=bins)  # 93 % agree, whatever the confidence
    assert page.value("overconfidence") < 0
    assert page.value("detector", signal="calibration") < page.value("detector_limit", signal="calibration")
    assert 0 < page.value("class_ece_by_chance") < 0.1
    assert page.value("nll") == pytest.approx(-math.log(0.8) * 0.93 - math.log(0.2 / 7) * 0.07, abs=0.15)
    assert 0 < page.value("class_brier") < page.value("class_ece") + 1
    assert page.value("expected_agreement", span="recent") == pytest.approx(0.8, abs=0.02)
    assert len(page.values("class_expected_agreement", span="version")) == len(LABELS)
    assert len(page.values("reliability_agreement")) == 10
