from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.labels import LabelSet
from core.settings import TrustSettings
from training.trust import beta_prior, judge_classes

LABELS = LabelSet(["good", "bad", "rare", "never"])


def _answers(predicted, confidence, count=4):
    probabilities = np.full((len(predicted), count), 0.0, dtype=np.float32)
    for row, label, value in zip(probabilities, predicted, confidence, strict=True):
        row[:] = (1 - value) / (count - 1)
        row[label] = value
    return probabilities


def test_classes_earn_trust_by_the_answers_that_would_be_given():
    predicted = [0] * 40 + [1] * 40 + [2] * 3
    teacher = [0] * 39 + [1] + [1] * 12 + [0] * 28 + [2] * 3
    verdicts = judge_classes(_answers(predicted, [0.9] * 83), np.array(teacher), LABELS, TrustSettings())
    assert [verdict.label for verdict in verdicts] == list(LABELS.names)
    assert [verdict.trusted for verdict in verdicts] == [True, False, False, False]
    assert [verdict.examples for verdict in verdicts] == [40, 40, 3, 0]
    assert "39 of 40" in verdicts[0].evidence
    assert "below 0.75" in verdicts[1].evidence
    assert "fewer than 5 examples" in verdicts[2].evidence


def test_what_the_cascade_sends_to_the_teacher_neither_earns_nor_costs_trust():
    predicted, confidence = [0] * 20 + [0] * 30, [0.9] * 20 + [0.4] * 30
    teacher = np.array([0] * 20 + [1] * 30)  # wrong wherever it is not confident
    verdict = judge_classes(_answers(predicted, confidence), teacher, LABELS, TrustSettings(min_confidence=0.5))[0]
    assert verdict.trusted
    assert verdict.examples == 20


def test_a_small_class_is_shrunk_more_than_a_large_one():
    predicted = [0] * 200 + [1] * 5
    teacher = np.array([0] * 150 + [2] * 50 + [1] * 5)
    large, small = judge_classes(_answers(predicted, [0.9] * 205), teacher, LABELS, TrustSettings())[:2]
    assert abs(large.agreement - 0.75) < 0.01
    assert large.agreement < small.agreement < 0.99  # five of five is not certainty


def test_the_prior_is_found_again():
    rng = np.random.default_rng(0)
    counts = np.full(4000, 30)
    successes = rng.binomial(counts, rng.beta(6.0, 2.0, size=4000))
    mean, strength = beta_prior(successes, counts)
    assert mean == pytest.approx(0.75, abs=0.01)
    assert strength == pytest.approx(8.0, rel=0.1)


def test_classes_that_are_all_alike_borrow_as_much_as_is_allowed():
    counts = np.full(50, 20)
    successes = np.random.default_rng(1).binomial(counts, 0.9)
    assert beta_prior(successes, counts)[1] == 10.0
    assert beta_prior(np.array([5, 7]), np.array([5, 7])) == (1.0, 10.0)
    assert beta_prior(np.zeros(3, dtype=np.int64), np.zeros(3, dtype=np.int64))[0] == 0.0


@given(
    st.lists(st.integers(0, 30).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), min_size=1, max_size=20)
)
def test_shrinking_never_leaves_the_range_between_the_class_and_the_whole(pairs):
    successes, counts = (np.array(column) for column in zip(*pairs, strict=True))
    mean, strength = beta_prior(successes, counts)
    assert 0 <= mean <= 1
    assert 1 <= strength <= 10
    for k, n in pairs:
        shrunk = (k + strength * mean) / (n + strength)
        raw = k / n if n else mean
        assert min(raw, mean) - 1e-9 <= shrunk <= max(raw, mean) + 1e-9
