"""From records to state, from state to alarms and trust."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from core.ledger import Ledger, Severity
from core.records import Answerer, Outcome
from monitoring.alarms import Reviewer
from monitoring.drift.verdict import Part, Verdict
from monitoring.drift.window import Window
from monitoring.rules import Rules, rules_of
from monitoring.signals import CLASSES, DRIFT, STUDENT, is_due
from monitoring.state import TaskState
from tests.support.monitoring_world import LABELS, NOON, World, task_settings, trust_rows


class Watch:
    """The monitor without its streams: records in, alarms out."""

    def __init__(self, ledger: Ledger, world: World, rows=None, **watch) -> None:
        self.ledger, self.world = ledger, world
        settings = task_settings(**watch)
        self.rules: Rules = rules_of(settings)
        self.reviewer = Reviewer("desk", ledger, self.rules, settings.watch)
        self.state = TaskState("desk")
        self.now = NOON
        ledger.set_trust("desk", world.version, trust_rows(world.version) if rows is None else rows)

    def take(self, exchange, comparison=None) -> None:
        version = self.state.unknown_version(exchange)
        if version is not None:
            self.state.begin(version, self.rules, self.ledger.trust("desk", version))
        self.state.observe_exchange(exchange, self.rules)
        if comparison is not None:
            self.state.observe(comparison, self.rules)

    def run(self, comparisons: int, *, drawn: bool | None = True, label: str | None = None) -> int:
        """Show it so many; returns after how many the first alarm was raised (0: none)."""
        first = 0
        for number in range(1, comparisons + 1):
            self.now += 1
            trusted = self.ledger.trusted("desk").get(self.world.version, frozenset()) if number % 10 == 0 else None
            if trusted is not None:
                self.world.untrusted = set(LABELS) - trusted
            self.take(*self.world.pair(drawn=drawn, label=label))
            if is_due(self.state, self.rules):
                self.reviewer.review(self.state, self.now)
                first = first or (number if self.reviewer.open else 0)
        return first

    @property
    def open(self):
        return {alarm.cause: alarm for alarm in self.ledger.alarms.open("desk")}


def test_agreement_is_kept_by_class_and_over_all(ledger, world):
    watch = Watch(ledger, world)
    watch.run(400)
    watched = watch.state.watched
    assert watched is not None
    assert watched.number == sum(mean.count for mean in watched.classes.values()) == 400
    assert watched.student.whole.estimate == pytest.approx(0.93, abs=0.04)
    assert watched.student.recent.count >= 200
    assert watched.calibration.ece is not None
    assert len(watched.trail) == 400
    assert all(not example.text or example.text.startswith("message") for example in watched.examples)


def test_nothing_happens_while_nothing_changes(ledger, world):
    watch = Watch(ledger, world)
    assert watch.run(3000) == 0
    assert watch.open == {}


def test_it_goes_on_from_its_record(ledger, world):
    watch = Watch(ledger, world)
    watch.run(300)
    copy = msgspec.msgpack.decode(msgspec.msgpack.encode(watch.state), type=TaskState)
    assert copy == watch.state


def test_a_fall_of_all_classes_raises_one_alarm_and_takes_trust(ledger, world):
    watch = Watch(ledger, world)
    watch.run(1000)
    world.agreement = dict.fromkeys(LABELS, 0.4)
    after = watch.run(700)
    assert 0 < after < 60
    alarm = watch.open[STUDENT]
    assert alarm.retrain
    assert alarm.severity is Severity.WARNING
    assert alarm.first_exchange.startswith("ex_")
    assert alarm.evidence["student_agreement"]["estimate"] < 0.7
    assert alarm.evidence["baseline"] > 0.8
    assert alarm.evidence["examples"][0]["text"].startswith("message")
    assert set(alarm.labels) == set(LABELS)
    assert ledger.trusted("desk")["1"] == frozenset()
    assert ledger.audit_trail("desk", limit=1)[0].action == "withdraw_trust"
    assert set(alarm.evidence["withdrawn"]) == set(LABELS)


def test_one_class_that_falls_loses_trust_alone(ledger, world):
    watch = Watch(ledger, world)
    watch.run(1500)
    world.agreement["c3"] = 0.3
    watch.run(900)
    assert "c3" not in ledger.trusted("desk")["1"]
    assert len(ledger.trusted("desk")["1"]) >= 6
    named = {label for alarm in watch.open.values() for label in alarm.labels}
    assert "c3" in named
    row = ledger.trust("desk", "1")["c3"]
    assert "withdrawn by alarm" in row.evidence


def test_a_student_worse_than_validated_is_noticed_from_the_start(ledger, world):
    world.agreement["c5"] = 0.3
    watch = Watch(ledger, world)
    watch.run(600)
    assert "c5" in watch.open[CLASSES].labels
    assert "c5" not in ledger.trusted("desk")["1"]


def test_served_agreement_counts_what_the_teacher_answers(ledger, world):
    watch = Watch(ledger, world, rows=trust_rows(c0=False, c1=False, c2=False, c3=False))
    world.untrusted = set(LABELS[:4])
    for label in LABELS[:4]:
        world.agreement[label] = 0.5
    watch.run(6000, drawn=None)
    watched = watch.state.watched
    assert watched is not None
    assert watched.served.whole.estimate == pytest.approx((1 + 0.93) / 2, abs=0.02)
    assert watched.student.whole.estimate == pytest.approx((0.5 + 0.93) / 2, abs=0.04)
    assert watch.state.traffic.teacher_share() == pytest.approx(0.5, abs=0.05)


def test_the_fallback_budget_is_kept_and_said(ledger, world):
    watch = Watch(ledger, world, max_fallback_share=0.4)
    watch.run(1000)
    world.agreement = dict.fromkeys(LABELS, 0.2)
    watch.run(200)
    alarm = watch.open[STUDENT]
    trusted = ledger.trusted("desk")["1"]
    assert alarm.severity is Severity.CRITICAL
    assert 4 <= len(trusted) <= 6
    assert set(alarm.evidence["kept"]) <= trusted
    assert "max_fallback_share" in alarm.evidence["budget"]
    assert alarm.evidence["teacher_share"] <= 0.4


@pytest.mark.parametrize(("policy", "left"), [("none", 8), ("named", 7)])
def test_what_is_withdrawn_is_policy(ledger, world, policy, left):
    watch = Watch(ledger, world, withdraw=policy)
    watch.run(1000)
    world.agreement["c1"] = 0.0
    watch.run(500)
    assert watch.open
    assert len(ledger.trusted("desk")["1"]) == left


def test_there_is_one_alarm_a_cause_and_a_crash_raises_no_second(ledger, world):
    watch = Watch(ledger, world)
    watch.run(1000)
    before = msgspec.msgpack.encode(watch.state)
    world.agreement = dict.fromkeys(LABELS, 0.4)
    pairs = [world.pair(drawn=True) for _ in range(200)]
    for attempt in range(2):  # the second time as after a kill: from the old snapshot, over the same records
        watch.state = msgspec.msgpack.decode(before, type=TaskState)
        for pair in pairs:
            watch.take(*pair)
            if is_due(watch.state, watch.rules):
                watch.reviewer.review(watch.state, NOON + attempt)
    assert len([alarm for alarm in ledger.alarms.newest("desk") if alarm.cause == STUDENT]) == 1


def test_it_recovers_and_waits_for_its_cooldown(ledger, world):
    watch = Watch(ledger, world, recent_comparisons=60, withdraw="none", cooldown_minutes=600)
    watch.run(800)
    world.agreement = dict.fromkeys(LABELS, 0.3)
    watch.run(100)
    assert STUDENT in watch.open
    world.agreement = dict.fromkeys(LABELS, 0.97)
    watch.run(400)
    assert STUDENT not in watch.open
    assert "back above" in ledger.alarms.newest("desk", limit=100)[-1].note
    world.agreement = dict.fromkeys(LABELS, 0.3)
    watch.run(100)
    assert STUDENT not in watch.open
    watch.now += 36_000
    watch.run(1)
    watch.reviewer.review(watch.state, watch.now)
    assert STUDENT in watch.open


def test_an_alarm_that_a_person_resolves_is_not_raised_again_by_the_same_evidence(ledger, world):
    watch = Watch(ledger, world, cooldown_minutes=0, withdraw="none", retrain_on=[])
    watch.run(800)
    world.agreement = dict.fromkeys(LABELS, 0.3)
    watch.run(60)
    alarm = watch.open[STUDENT]
    assert not alarm.retrain
    assert alarm.severity is Severity.CRITICAL
    assert ledger.alarms.acknowledge(alarm.id, "seen", NOON)
    for other in watch.open.values():
        assert ledger.alarms.resolve(other.id, "a planned change", NOON)
    watch.reviewer.review(watch.state, watch.now)
    assert watch.open == {}
    assert watch.state.watched is not None
    assert watch.state.watched.detector.value == 0.0


def test_a_new_champion_begins_anew_and_ends_the_old_ones_alarms(ledger, world):
    watch = Watch(ledger, world)
    watch.run(800)
    world.agreement = dict.fromkeys(LABELS, 0.3)
    watch.run(100)
    assert watch.open
    ledger.set_trust("desk", "2", trust_rows("2"))
    late = world.pair(drawn=True)
    world.version, world.agreement, world.untrusted = "2", dict.fromkeys(LABELS, 0.95), set()
    watch.run(10)
    watch.take(*late)
    watch.run(300)
    watch.reviewer.review(watch.state, watch.now)
    assert watch.state.champion == "2"
    assert watch.open == {}
    assert all("version 2 answers" in alarm.note for alarm in ledger.alarms.newest("desk"))
    assert watch.state.watched is not None
    assert watch.state.watched.number == 310
    assert len(ledger.trusted("desk")["2"]) == 8


def test_the_champion_does_not_flap(ledger, world):
    watch = Watch(ledger, world)
    watch.run(5)
    other = World(1, version="2")
    ledger.set_trust("desk", "2", trust_rows("2"))
    for _ in range(10):
        watch.take(*other.pair(drawn=False))
        watch.take(*world.pair(drawn=False))
    assert watch.state.champion == "1"
    for version in "23456":
        other.version = version
        for _ in range(3):
            watch.take(*other.pair(drawn=False))
    assert watch.state.champion == "6"
    assert len(watch.state.versions) == 3


def test_an_exchange_is_compared_once_and_bursts_count_as_one(ledger, world):
    watch = Watch(ledger, world)
    exchange, comparison = world.pair(drawn=True)
    assert comparison is not None
    watch.take(exchange, comparison)
    watch.state.observe(msgspec.structs.replace(comparison, id="cmp_again"), watch.rules)
    assert watch.state.duplicates == 1
    for i in range(20):
        burst = msgspec.structs.replace(comparison, exchange=f"ex_{i}", cluster="same")
        watch.state.observe(burst, watch.rules)
    watched = watch.state.watched
    assert watched is not None
    assert (watched.number, watched.bursts) == (2, 19)


def test_what_is_missing_is_known(ledger, world):
    watch = Watch(ledger, world)
    watch.run(200)
    for _ in range(50):
        exchange, comparison = world.pair(drawn=True)
        assert comparison is not None
        missing = msgspec.structs.replace(comparison, outcome=Outcome.TIMED_OUT, teacher_label=None)
        watch.take(exchange, missing)
    watch.take(world.pair(drawn=True)[0])
    watched = watch.state.watched
    assert watched is not None
    assert watched.outcomes == {"answered": 200, "timed_out": 50}
    assert watched.number == 200
    assert watched.drawn - watched.arrived == 1
    assert watched.served.whole.count == 250


def test_drift_warns_is_confirmed_by_agreement_alone_and_ends(ledger, world):
    watch = Watch(ledger, world, drift_window=100, drift_window_minutes=0, drift_reference_hours=0)
    watch.run(405, drawn=False)
    drift = watch.state.drift
    assert drift.reference is not None
    assert drift.full is not None

    def verdict(p_value: float) -> Verdict:
        parts = [Part(name, p_value, 1e-5) for name in ("labels", "inputs")]
        return Verdict("1", NOON, NOON, 100, 100, 0, 200, [], parts, "the whole reference", (0.8, 0.7))

    opened = []
    for p_value in (0.01, 1e-6, 0.2, 0.3):
        drift.note(verdict(p_value), Window([], NOON, NOON, 100, 0), watch.rules.drift)
        watch.reviewer.review(watch.state, NOON)
        opened.append(DRIFT in watch.open)
    assert opened == [False, True, True, False]
    (alarm,) = ledger.alarms.newest("desk")
    assert not alarm.retrain
    assert [part["drift"] for part in alarm.evidence["parts"]] == [True, True]
    assert len(ledger.trusted("desk")["1"]) == 8


def test_privacy_keeps_texts_out(ledger, world):
    watch = Watch(ledger, world)
    watch.rules = replace(watch.rules, keep_text=False)
    watch.run(200)
    assert watch.state.watched is not None
    assert watch.state.watched.examples
    assert not any(example.text for example in watch.state.watched.examples)


def test_nobody_s_answers_and_unknown_labels_do_no_harm(ledger, world):
    watch = Watch(ledger, world)
    watch.run(3)
    exchange, comparison = world.pair(drawn=True)
    assert comparison is not None
    strange = msgspec.structs.replace(comparison.student, label="never heard of")
    watch.take(msgspec.structs.replace(exchange, answered_by=Answerer.NOBODY, student=None, status=502))
    watch.state.observe(msgspec.structs.replace(comparison, student=strange), watch.rules)
    assert watch.state.watched is not None
    assert "other" in watch.state.watched.classes
    assert watch.state.exchanges == {"student": 3, "nobody": 1}
