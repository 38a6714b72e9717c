"""What passes, what is refused, and whom a refusal names."""

from __future__ import annotations

import dataclasses

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.compare import Limits, Pairs, compare
from training.gates import GateReport, judge, spent_alpha

LABELS = ["order", "refund", "praise", "rare"]
LIMITS = Limits(margin=0.02, alpha=0.05, class_fdr=0.1, max_latency_ms=10.0, max_size_mb=10.0)


def _pairs(champion, candidate, answers, recent=None, probabilities=None):
    champion = np.asarray(champion, dtype=bool)
    recent = np.zeros(len(champion), dtype=bool) if recent is None else np.asarray(recent, dtype=bool)
    return Pairs(
        champion,
        np.asarray(candidate, dtype=bool),
        np.asarray(answers, dtype=np.int64),
        {"recent traffic": recent, "older data": ~recent},
        np.ones(len(champion)) if probabilities is None else np.asarray(probabilities, dtype=np.float64),
    )


def _distributions(right, answers, sure=0.7):
    rest = (1 - sure) / (len(LABELS) - 1)
    spread = np.full((len(answers), len(LABELS)), rest, dtype=np.float32)
    for row, fine, answer in zip(spread, right, answers, strict=True):
        row[answer if fine else (answer + 1) % len(LABELS)] = sure
    return spread


def _judged(pairs, *, sure=0.7, **changes):
    given = {"golden": {}, "latency_ms": 1.0, "champion_latency_ms": 1.0, "size_mb": 1.0} | changes
    before, after = _distributions(pairs.champion, pairs.answers), _distributions(pairs.candidate, pairs.answers, sure)
    return judge(compare(pairs, LABELS, LIMITS), before, after, pairs.answers, LIMITS, **given)


def _better(count=300):
    answers = np.arange(count) % 3
    champion = np.arange(count) % 5 != 0
    return _pairs(champion, champion | (np.arange(count) % 10 == 0), answers)


def test_a_better_candidate_passes():
    report = _judged(_better())
    assert report.passed
    assert report.refusals == []
    assert report.paired.hurt == []
    assert report.paired.overall.difference == pytest.approx(0.1)


def test_one_that_hurts_a_class_is_refused_by_its_name_however_good_it_is_elsewhere():
    pairs = _better(600)
    candidate = np.ones(600, dtype=bool)
    praise = np.flatnonzero(pairs.answers == 2)
    candidate[praise[::3]] = False
    report = _judged(_pairs(pairs.champion, candidate, pairs.answers))
    assert report.paired.overall.difference > 0.05
    assert report.paired.hurt == ["praise"]
    (refusal,) = [refusal for refusal in report.refusals if refusal.gate == "classes"]
    assert "hurt 1 of 4 classes: praise (133 of 200, was 160)" in refusal.text


def test_an_equal_candidate_passes_only_where_there_is_enough_to_show_it():
    for count, passes in ((60, False), (400, True)):
        right = np.ones(count, dtype=bool)
        report = _judged(_pairs(right, right, np.arange(count) % 3))
        assert report.passed is passes
    (refusal,) = _judged(_pairs([1] * 60, [1] * 60, [0] * 60)).refusals
    assert refusal.gate == "agreement"
    assert "not shown to be within 2.0% of the champion: 100.0% against 100.0% of 60 texts" in refusal.text


def test_worse_on_recent_traffic_is_refused_though_all_together_are_better():
    champion, candidate = [0] * 60 + [1] * 240 + [1] * 40, [1] * 60 + [1] * 240 + [1] * 30 + [0] * 10
    answers = np.arange(340) % 3
    report = _judged(_pairs(champion, candidate, answers, recent=[0] * 300 + [1] * 40))
    assert [refusal.gate for refusal in report.refusals] == ["part"]
    assert "worse than the champion on recent traffic: 75.0% against 100.0% of 40 texts" in report.refusals[0].text


def test_a_class_without_evidence_blocks_nothing():
    pairs = _better()
    answers = pairs.answers.copy()
    candidate = pairs.candidate.copy()
    answers[1:3], candidate[1:3] = 3, False  # two rare texts, both lost
    report = _judged(_pairs(pairs.champion, candidate, answers))
    rare = report.paired.classes[3]
    assert (rare.texts, rare.losses, rare.hurt) == (2, 2, False)
    assert rare.visible_drop is None
    assert report.passed


def test_worse_probabilities_are_refused():
    pairs = _better()
    report = _judged(pairs, sure=0.3)
    assert [refusal.gate for refusal in report.refusals] == ["calibration"]


def test_golden_examples_time_and_size():
    report = _judged(_better(), golden={"my card was stolen": False, "hello": True}, latency_ms=11.0, size_mb=11.0)
    assert [refusal.gate for refusal in report.refusals] == ["golden", "latency", "size"]
    assert "1 of 2 golden examples go wrong: 'my card was stolen'" in report.refusals[0].text
    assert report.golden_failed == ["my card was stolen"]


def test_without_any_text_nothing_is_shown_and_nothing_breaks():
    report = _judged(_pairs([], [], []))
    assert [refusal.gate for refusal in report.refusals] == ["agreement"]
    assert "no held-out text" in report.refusals[0].text


def test_weighting_is_reported_and_decides_nothing():
    champion, candidate = [1] * 10 + [0] * 30, [0] * 10 + [1] * 30
    weighed = compare(_pairs(champion, candidate, [0] * 40, probabilities=[0.01] * 10 + [1] * 30), LABELS, LIMITS)
    plain = compare(_pairs(champion, candidate, [0] * 40), LABELS, LIMITS)
    assert weighed.overall.weighted < 0 < plain.overall.weighted
    assert weighed.refusals == plain.refusals


def test_the_error_of_one_alarm_is_never_spent_twice():
    assert spent_alpha(0.05, 0) == 0.025
    assert sum(spent_alpha(0.05, earlier) for earlier in range(200)) <= 0.05


@settings(max_examples=60)
@given(st.data())
def test_a_report_survives_json_and_swapping_the_students_mirrors_it(data):
    count = data.draw(st.integers(0, 40))
    draw = st.lists(st.booleans(), min_size=count, max_size=count)
    answers = data.draw(st.lists(st.integers(0, 3), min_size=count, max_size=count))
    pairs = _pairs(data.draw(draw), data.draw(draw), answers, recent=data.draw(draw))
    report = _judged(pairs)
    assert msgspec.json.decode(msgspec.json.encode(report), type=GateReport) == report
    swapped = _judged(dataclasses.replace(pairs, champion=pairs.candidate, candidate=pairs.champion)).paired
    assert swapped.overall.difference == pytest.approx(-report.paired.overall.difference)
    assert swapped.overall.low == pytest.approx(-report.paired.overall.high, abs=1e-6)
    assert sum(c.texts for c in report.paired.classes) == count
    assert report.passed is not bool(report.refusals)


def test_no_class_is_called_hurt_by_chance_more_often_than_the_rate_says():
    rng = np.random.default_rng(0)
    labels = [f"c{i}" for i in range(40)]
    false = 0
    for _ in range(200):
        answers = rng.integers(0, 40, 1200)
        champion, candidate = rng.random(1200) < 0.9, rng.random(1200) < 0.9
        false += bool(compare(_pairs(champion, candidate, answers), labels, LIMITS).hurt)
    assert false / 200 <= 0.1 + 3 * (0.09 / 200) ** 0.5
