"""What an alarm does to a version's threshold."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from core.ledger import Threshold
from core.settings import TrustSettings
from monitoring.alarms import Reviewer
from monitoring.cascade import raised_confidence, restored, told_of
from monitoring.evidence import Evidence
from monitoring.rules import rules_of
from monitoring.signals import is_due
from monitoring.state import TaskState
from monitoring.statistics.detector import Mark
from monitoring.version import Step, begin
from tests.support.monitoring_world import LABELS, NOON, World, task_settings, trust_rows

TRUST = TrustSettings(min_confidence=0.5, target_agreement=0.9)


def _settings(**watch):
    return task_settings(**watch).model_copy(update={"trust": TRUST})


def _watched(count=800, *, right_from=0.8, seed=0):
    """A version whose answers agree from a confidence on, and seldom below it."""
    rng, state = np.random.default_rng(seed), begin("1", rules_of(_settings()), {})
    for number in range(1, count + 1):
        confidence = float(rng.uniform(0.5, 1.0))
        agrees = bool(rng.random() < (0.98 if confidence >= right_from else 0.3))
        label = str(rng.choice(LABELS))
        state.trail.append(Step(number, label, label, agrees, sure=True, weight=1.0, confidence=confidence))
    return state


def _raised(watched, *, trusted=frozenset(LABELS), present=0.5, change=None, teacher_share=0.1, most=0.9, rules=None):
    rules = rules or rules_of(_settings())
    return raised_confidence(watched, Evidence(change), trusted, rules, present, teacher_share, most)


def test_it_is_raised_to_where_the_target_holds_again():
    assert _raised(_watched()) == pytest.approx(0.8, abs=0.05)


def test_it_is_never_lowered_and_stays_where_all_is_well():
    assert _raised(_watched(right_from=0.0)) is None
    assert _raised(_watched(), present=0.9) is None


def test_only_what_came_since_the_change_and_what_is_trusted_counts():
    watched = _watched()
    assert _raised(watched, change=Mark(790, "ex_1", NOON)) is None, "too few to show anything"
    assert _raised(watched, trusted=frozenset()) is None


def test_the_teacher_is_not_given_more_than_it_may_answer():
    assert _raised(_watched(), most=0.5) is None
    assert _raised(_watched(), most=0.8) is not None


def test_without_a_target_nothing_is_done():
    assert _raised(_watched(), rules=replace(rules_of(_settings()), target_agreement=None)) is None


class _Unsure(World):
    """Agreement that depends on confidence, once it has turned bad."""

    bad = False

    def comparison(self, exchange, probability):
        found = super().comparison(exchange, probability)
        if self.bad:
            right = self.rng.random() < (0.98 if found.student.confidence > 0.85 else 0.35)
            found = msgspec.structs.replace(found, teacher_label=found.student.label if right else "none of them")
        return found


@pytest.mark.parametrize("known", [True, False])
def test_an_alarm_raises_it_and_a_person_may_take_that_back(ledger, known):
    settings, world = _settings(withdraw="named", class_fdr=1e-9), _Unsure()
    rules, state = rules_of(settings), TaskState("desk")
    reviewer = Reviewer("desk", ledger, rules, settings.watch)
    ledger.set_trust("desk", "1", trust_rows())
    if known:
        ledger.thresholds.replace("desk", "1", Threshold("desk", "1", 0.6, 0.9, "in the beginning", NOON))
    state.begin("1", rules, ledger.trust("desk", "1"))
    for number in range(2200):
        world.bad = number > 1000
        exchange, comparison = world.pair(drawn=True)
        state.observe_exchange(exchange, rules)
        state.observe(comparison, rules)
        if is_due(state, rules):
            reviewer.review(state, NOON + number)
    now = ledger.thresholds.get("desk", "1")
    assert now.confidence > 0.75
    assert "raised by alarm" in now.evidence
    alarm = next(a for a in ledger.alarms.open("desk") if a.evidence.get("threshold", {}).get("to") == now.confidence)
    assert alarm.evidence["threshold"]["from"] == (0.6 if known else 0.5)
    assert any(entry.action == "raise_threshold" for entry in ledger.audit_trail("desk"))
    given_back = restored(now, alarm, NOON)
    assert given_back.confidence == (0.6 if known else 0.5)
    assert restored(replace(now, confidence=0.99), alarm, NOON) is None, "somebody else has changed it since"
    assert told_of(None, alarm.evidence) == {"threshold": alarm.evidence["threshold"]}
