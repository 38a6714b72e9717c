"""From windows to alarms and metrics: what a person is told of drift, and of a class that is not known."""

from __future__ import annotations

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from core.journal import Journal
from core.lease import Leases
from core.ledger import Ledger
from core.records import Answerer, Reason
from monitoring.alarms import Reviewer
from monitoring.drift.score import judge_window
from monitoring.drift.verdict import PARTS, SIGNALS
from monitoring.forgetting import drop_examples
from monitoring.metrics import Metrics
from monitoring.reader import TaskReader
from monitoring.signals import DRIFT, NEW_CLASS
from tests.support.drift_world import Inputs

NOWHERE = "redis://127.0.0.1:9"


class Desk:
    """A task's reader whose windows are judged at once, without streams."""

    def __init__(self, ledger: Ledger, inputs: Inputs) -> None:
        self.inputs, self.ledger = inputs, ledger
        self.journal, self.leases = Journal.connect(NOWHERE), Leases(NOWHERE)
        self.reader = TaskReader("desk", inputs.settings, self.journal, self.leases, ledger, snapshot_seconds=1.0)
        self.reviewer = Reviewer("desk", ledger, self.reader.rules, inputs.settings.watch)
        self.reader.state.begin("1", self.reader.rules, {})

    def run(self, windows: int) -> None:
        """Show it exchanges until so many more windows are judged, and review what came of each."""
        state, rules = self.reader.state, self.reader.rules
        drift, until = state.drift, state.drift.windows + windows
        while drift.windows < until:
            state.observe_exchange(self.inputs.exchange(), rules)
            if drift.full is not None and drift.reference is not None:
                window, drift.full = drift.full, None
                verdict = judge_window(
                    drift.reference, window, drift.season, list(drift.unsure), rules.drift, seed=drift.opened
                )
                drift.note(verdict, window, rules.drift)
                self.reviewer.review(state, self.inputs.at)

    @property
    def open(self):
        return {alarm.cause: alarm for alarm in self.ledger.alarms.open("desk")}


@pytest.fixture
def desk(ledger) -> Desk:
    return Desk(ledger, Inputs(12, drift_horizon=20, stale_hours=None, golden_hours=None))


def test_a_new_class_warns_with_examples_which_can_be_forgotten(desk):
    desk.run(1)
    assert desk.open == {}
    desk.inputs.foreign = 0.15
    desk.run(1)
    alarm = desk.open[NEW_CLASS]
    assert not alarm.retrain
    cluster = alarm.evidence["clusters"][0]
    assert cluster["size"] > 20
    assert cluster["in_reference"] <= 2
    assert cluster["similarity"] < cluster["usual_similarity"]
    assert all(example["text"] for example in alarm.evidence["examples"])
    assert "A label may be missing" in alarm.evidence["what"]
    shown = {example["exchange"] for example in alarm.evidence["examples"]}
    assert drop_examples(desk.reader.state, shown.__contains__) >= len(shown)
    assert not any(e.exchange in shown for one in desk.reader.state.drift.clusters for e in one.examples)
    desk.inputs.foreign = 0.0
    desk.run(6)
    assert NEW_CLASS not in desk.open


def test_drift_says_what_it_rests_on(desk):
    desk.run(1)
    desk.inputs.weights = np.arange(12, 0, -1.0)
    desk.run(1)
    alarm = desk.open[DRIFT]
    assert not alarm.retrain
    told = alarm.evidence
    assert [part["part"] for part in told["parts"] if part["drift"]] == ["labels"]
    assert {one["signal"] for one in told["signals"]} == set(SIGNALS)
    assert told["window"]["reference"] == pytest.approx(600, abs=30)
    assert told["labels_compared_with"].endswith("season not known yet")
    assert told["classes"][0]["class"] in {"c0", "c1", "c10", "c11"}
    assert "the mix of the student's labels has changed" in told["what"]
    desk.inputs.weights = np.arange(1, 13.0)
    for _ in range(10):
        desk.run(1)
        if DRIFT not in desk.open:
            break
    assert DRIFT not in desk.open
    assert desk.ledger.alarms.newest("desk")[0].note == "the last windows look like the reference again"


def test_an_alarm_that_a_person_resolves_begins_anew(desk):
    desk.run(1)
    desk.inputs.weights = np.arange(12, 0, -1.0)
    desk.run(1)
    assert desk.ledger.alarms.resolve(desk.open[DRIFT].id, "a campaign", desk.inputs.at)
    desk.reviewer.review(desk.reader.state, desk.inputs.at)
    assert desk.open == {}
    assert desk.reader.state.drift.drifted == 0


def test_requests_that_match_no_template_count_from_the_exchanges_themselves(desk):
    desk.run(1)
    for _ in range(5):
        exchange = desk.inputs.exchange()
        fields = {name: getattr(exchange, name) for name in exchange.__struct_fields__}
        fields |= {"student": None, "answered_by": Answerer.TEACHER, "reason": Reason.TEMPLATE_MISMATCH}
        desk.reader.state.observe_exchange(type(exchange)(**fields), desk.reader.rules)
    assert desk.reader.state.drift.mismatched == 5


def test_scores_levels_and_shares_are_exported(desk):
    metrics = Metrics([desk.reader])
    metrics.draw()
    assert b"tutelage_monitor_drift_reference" in metrics.text
    assert b"drift_score" not in metrics.text
    desk.run(1)
    metrics.draw()
    found = {family.name: family.samples for family in text_string_to_metric_families(metrics.text.decode())}

    def labelled(name: str, label: str) -> dict[str, float]:
        return {sample.labels[label]: sample.value for sample in found[f"tutelage_monitor_{name}"]}

    assert set(labelled("drift_score", "signal")) == set(labelled("drift_threshold", "signal")) == set(SIGNALS)
    levels = labelled("drift_level", "part")
    assert set(levels) == set(PARTS)
    assert sum(levels.values()) * 20 == pytest.approx(0.01)
    lower, share, upper = (labelled(f"class_share{end}", "class") for end in ("_lower", "", "_upper"))
    assert len(share) == 12
    assert all(lower[name] <= upper[name] for name in share)
    assert sum(share.values()) == pytest.approx(1, abs=0.02)
