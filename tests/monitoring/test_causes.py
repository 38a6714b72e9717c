"""Causes beside student and class agreement, and how the reviewer treats any of them."""

from __future__ import annotations

from typing import get_args

import msgspec
import numpy as np
import pytest

from core.ledger import Severity
from core.records import Answerer, Reason
from core.settings import WatchSettings
from monitoring.alarms import Reviewer
from monitoring.causes import Cause, Finding, standard_causes
from monitoring.rules import rules_of
from monitoring.signals import BELOW, DRIFT, SERVED, SIGNALS, STUDENT, is_due
from monitoring.state import TaskState
from monitoring.statistics.classes import e_benjamini_hochberg
from tests.support.monitoring_world import LABELS, NOON, World, task_settings, trust_rows
from tests.support.processes import ROOT


class Watch:
    """The monitor without its streams."""

    def __init__(self, ledger, world, causes=None, **watch) -> None:
        self.ledger, self.world = ledger, world
        settings = task_settings(**watch)
        self.rules = rules_of(settings)
        self.reviewer = Reviewer("desk", ledger, self.rules, settings.watch, causes)
        self.state = TaskState("desk")
        self.now = NOON
        ledger.set_trust("desk", world.version, trust_rows(world.version))

    def run(self, exchanges: int, *, drawn: bool | None = True) -> None:
        for _ in range(exchanges):
            self.now += 1
            exchange, comparison = self.world.pair(drawn=drawn)
            version = self.state.unknown_version(exchange)
            if version is not None:
                self.state.begin(version, self.rules, self.ledger.trust("desk", version))
            self.state.observe_exchange(exchange, self.rules)
            if comparison is not None:
                self.state.observe(comparison, self.rules)
            if is_due(self.state, self.rules):
                self.review()
        self.review()

    def review(self) -> None:
        self.reviewer.review(self.state, self.now)

    @property
    def open(self):
        return {alarm.cause: alarm for alarm in self.ledger.alarms.open("desk")}


# Served agreement


def half_by_teacher(world) -> None:
    """The teacher answers the classes of which the student knows little."""
    world.untrusted = set(LABELS[:4])
    world.agreement |= dict.fromkeys(LABELS[:4], 0.6)


def test_what_clients_receive_may_fall_while_the_student_is_as_ever(ledger, world):
    half_by_teacher(world)
    watch = Watch(ledger, world, withdraw="none")
    watch.run(5000, drawn=None)
    assert watch.open == {}
    world.untrusted = set()  # somebody trusts them all of a sudden
    watch.run(2000, drawn=None)
    assert STUDENT not in watch.open
    alarm = watch.open[SERVED]
    assert alarm.retrain
    assert alarm.evidence["baseline"] > 0.88
    assert alarm.evidence["served_agreement"]["estimate"] < alarm.evidence["baseline"]
    assert alarm.first_exchange.startswith("ex_")
    assert "What clients receive agrees" in alarm.evidence["what"]
    world.untrusted = set(LABELS[:4])
    watch.run(6000, drawn=None)
    assert SERVED not in watch.open, "it has recovered by itself, since it took nothing"


def test_served_agreement_that_took_trust_does_not_recover_by_the_teachers_answers(ledger, world):
    watch = Watch(ledger, world, recent_comparisons=60)
    watch.run(1500)
    world.agreement = dict.fromkeys(LABELS, 0.3)
    watch.run(60)
    alarm = watch.open[SERVED]
    assert watch.state.watched.served_watch.frozen
    baseline = watch.state.watched.served_watch.baseline.overall
    world.untrusted = set(LABELS)
    watch.run(1500, drawn=None)
    assert watch.state.watched.served_watch.baseline.overall == baseline
    assert (SERVED in watch.open) == bool(alarm.evidence["withdrawn"])


def test_a_mix_of_classes_that_swings_is_no_fall(ledger, world):
    half_by_teacher(world)
    watch = Watch(ledger, world)
    watch.run(3000, drawn=None)
    for label in LABELS[:4] * 2:  # now one class, now another
        for _ in range(250):
            exchange, comparison = world.pair(label=label)
            watch.state.observe_exchange(exchange, watch.rules)
            if comparison is not None:
                watch.state.observe(comparison, watch.rules)
        watch.review()
    assert SERVED not in watch.open


def test_an_exchange_that_the_student_was_not_asked_counts_as_served(ledger, world):
    watch = Watch(ledger, world)
    watch.run(5)
    exchange, _ = world.pair(drawn=False)
    asked = msgspec.structs.replace(
        exchange, answered_by=Answerer.TEACHER, student=None, reason=Reason.TEMPLATE_MISMATCH
    )
    watch.state.observe_exchange(asked, watch.rules)
    assert watch.state.watched.served_watch.classes[""].count == 1
    copy = msgspec.msgpack.decode(msgspec.msgpack.encode(watch.state), type=TaskState)
    assert copy == watch.state


# A promoted student below the level of the one before


def promoted(ledger, world, agreement: float, **watch) -> Watch:
    """A version that was well, then fell, and one that took over from it."""
    seen = Watch(ledger, world, **watch)
    seen.run(2500)
    world.agreement = dict.fromkeys(LABELS, 0.4)
    seen.run(100)
    assert seen.open
    ledger.set_trust("desk", "2", trust_rows("2"))
    world.version, world.untrusted, world.agreement = "2", set(), dict.fromkeys(LABELS, agreement)
    return seen


def test_a_promoted_student_that_stays_below_the_earlier_level_asks_for_another_run(ledger, world):
    watch = promoted(ledger, world, 0.8)
    watch.run(60)
    assert BELOW not in watch.open, "it cannot be said yet"
    watch.run(1200)
    alarm = watch.open[BELOW]
    assert alarm.retrain
    assert alarm.version == "2"
    assert alarm.evidence["student_agreement"]["interval"][1] < alarm.evidence["baseline"]
    assert "stays below" in alarm.evidence["what"]
    assert STUDENT not in watch.open, "it has not fallen since it began"
    ledger.set_trust("desk", "3", trust_rows("3"))
    world.version = "3"
    watch.run(10)
    assert watch.open == {}
    watch.run(1200)
    assert watch.open[BELOW].version == "3", "the level is handed on"
    ledger.alarms.resolve(watch.open[BELOW].id, "as good as it gets", watch.now)
    watch.now += 36_000
    watch.run(300)
    assert BELOW not in watch.open, "whoever resolves it accepts the level"


def test_one_that_is_as_good_as_before_asks_for_nothing(ledger, world):
    watch = promoted(ledger, world, 0.93)
    watch.run(3000)
    assert watch.state.watched.earlier_level > 0.85
    assert BELOW not in watch.open


# Drift, confirmed


@pytest.mark.parametrize(("policy", "retrains"), [(["input_drift"], True), ([], False)])
def test_drift_asks_for_a_run_only_once_agreement_confirms_it(ledger, world, monkeypatch, policy, retrains):
    from monitoring.causes.input_drift import InputDrift

    causes = [InputDrift(task_settings().watch)]
    drifting = True
    monkeypatch.setattr(InputDrift, "has_tripped", lambda _self, _look: drifting)  # what drift is, others test
    monkeypatch.setattr(InputDrift, "recovered", lambda _self, _look: "")
    watch = Watch(ledger, world, causes, retrain_on=policy)
    watch.run(600)
    alarm = watch.open[DRIFT]
    assert not alarm.retrain
    assert "not known yet" in alarm.evidence["what"]
    watch.run(300)
    assert not watch.open[DRIFT].evidence["confirmed"], "nothing has happened to the answers"
    world.agreement = dict.fromkeys(LABELS, 0.5)
    watch.run(600)
    alarm = watch.open[DRIFT]
    assert alarm.evidence["confirmed"]
    assert alarm.retrain is retrains
    assert "Confirmed by agreement" in alarm.evidence["what"]


# Bands of confidence


class _Unsure(World):
    """Agreement that depends on confidence, once it has turned bad."""

    bad = False

    def comparison(self, exchange, probability):
        found = super().comparison(exchange, probability)
        if self.bad and found.student.confidence < 0.8:
            right = self.rng.random() < 0.45
            found = msgspec.structs.replace(found, teacher_label=found.student.label if right else "none of them")
        return found


@pytest.mark.parametrize(("most", "raised"), [(1.0, 0.8), (0.3, 0.7), (0.1, None)])
def test_bands_that_lost_go_to_the_teacher_within_the_budget(ledger, most, raised):
    world = _Unsure()
    watch = Watch(ledger, world, withdraw="named", class_fdr=0.01, max_fallback_share=most)
    watch.run(1500)
    world.bad = True
    watch.run(250)
    alarm = watch.open[STUDENT]
    threshold = ledger.thresholds.get("desk", "1")
    if raised is None:
        assert threshold is None
        assert alarm.severity is Severity.CRITICAL
        assert "bands of confidence" in alarm.evidence["budget"]
        return
    assert threshold.confidence == pytest.approx(raised)
    assert alarm.evidence["threshold"] == {"from": 0.5, "to": raised}
    assert {band["to"] for band in alarm.evidence["bands"]} <= {0.7, 0.8}
    assert all(band["after"] < 0.75 < band["before"] for band in alarm.evidence["bands"])
    assert alarm.evidence["teacher_share"] <= most


# Any cause


def test_causes_settings_and_documents_know_the_same_names(ledger):
    names = [cause.name for cause in standard_causes("desk", ledger, task_settings().watch)]
    assert names == list(SIGNALS)
    text = (ROOT / "docs" / "watching.md").read_text(encoding="utf-8")
    rows = {name: text.rsplit(f"| `{name}` |", 1)[1].split("\n")[0].rpartition("| ")[2] for name in names}
    allowed = get_args(get_args(WatchSettings.model_fields["retrain_on"].annotation)[0])
    assert {name for name, retrains in rows.items() if "never" not in retrains} == set(allowed)
    assert [name for name, retrains in rows.items() if "yes" in retrains] == WatchSettings().retrain_on


class Odd(Cause):
    name = "odd"
    tripped = recovers = False
    restarts = 0

    def has_tripped(self, look):
        return self.tripped

    def is_due(self, look):
        return look.known is not None and look.watched.number > look.known.reviewed

    def find(self, look):
        return Finding({"number": look.watched.number}, what="Odd.", severity=Severity.INFO, retrain=False)

    def recovered(self, look):
        return "even again" if self.recovers else ""

    def restart(self, look):
        self.restarts += 1


def test_a_cause_opens_one_alarm_that_is_kept_up_to_date_and_closed(ledger, world):
    odd = Odd()
    watch = Watch(ledger, world, [odd], cooldown_minutes=60)
    watch.run(5)
    assert watch.open == {}
    odd.tripped = True
    watch.run(5)
    watch.run(5)
    (alarm,) = ledger.alarms.newest("desk")
    assert (alarm.cause, alarm.severity, alarm.retrain) == ("odd", Severity.INFO, False)
    assert alarm.evidence == {"what": "Odd.", "sure": "", "number": 15}
    watch.state.alarms.clear()  # as after a crash
    watch.review()
    assert len(ledger.alarms.newest("desk")) == 1
    odd.tripped, odd.recovers = False, True
    watch.review()
    assert ledger.alarms.get(alarm.id).note == "even again"
    assert odd.restarts == 1
    odd.tripped, odd.recovers = True, False
    watch.review()
    assert watch.open == {}, "its cooldown"
    watch.now += 3601
    watch.review()
    assert list(watch.open) == ["odd"]
    ledger.alarms.resolve(watch.open["odd"].id, "by hand", watch.now)
    watch.review()
    assert odd.restarts == 2


# The false discovery rate over e-values


def test_e_bh_names_whom_it_should():
    assert e_benjamini_hochberg([], 0.1) == []
    assert e_benjamini_hochberg([39.0, 1.0, 0.0, 2.0], 0.1) == [False] * 4
    assert e_benjamini_hochberg([41.0, 1.0, 0.0, 2.0], 0.1) == [True, False, False, False]
    assert e_benjamini_hochberg([21.0, 25.0, 0.0, 2.0], 0.1) == [True, True, False, False]


def test_e_bh_holds_its_rate_over_detectors_that_share_their_comparisons():
    """Detectors of classes of which none has fallen: named at any time within the horizon, the rate is the chance."""
    rng, streams, classes, horizon, rate, m = np.random.default_rng(5), 400, 5, 2000, 0.1, 0.9
    sums = np.zeros((streams, classes))
    named = np.zeros(streams, dtype=bool)
    for _ in range(horizon):
        label = rng.integers(classes, size=streams)
        agrees = rng.random(streams) < m
        rows = np.arange(streams)
        sums[rows, label] = (1 + 0.1 * (m - agrees) / (1 - m)) * (sums[rows, label] + 1)
        ordered = -np.sort(-sums * classes / horizon, axis=1)
        named |= (ordered >= classes / (np.arange(1, classes + 1) * rate)).any(axis=1)
    assert named.mean() <= rate
