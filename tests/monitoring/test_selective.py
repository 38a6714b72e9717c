"""The threshold keeps its promise, whatever the student is like; and lets through what it can show."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.statistics.binomial import lower_bound
from monitoring.statistics.selective import lowest_confidence

FLOOR, ERROR = 0.5, 0.1


def _draw(rng, count, sharpness, honesty):
    """Confidences, and agreement with probability confidence^honesty: below 1 the student is better than it says."""
    confidence = FLOOR + (1 - FLOOR) * rng.beta(sharpness, 1.0, size=count)
    return confidence.astype(np.float32), rng.random(count) < confidence**honesty


def _agreement(confidence, sharpness, honesty):
    """True agreement at and above a confidence: the mean of confidence^honesty over the beta distribution's tail."""
    u = ((confidence - FLOOR) / (1 - FLOOR)) ** sharpness
    tail = u + (1 - u) * (np.arange(4000) + 0.5) / 4000
    return float(np.mean((FLOOR + (1 - FLOOR) * tail ** (1 / sharpness)) ** honesty))


@pytest.mark.parametrize(
    ("target", "count", "sharpness", "honesty"),
    [(0.9, 400, 2.0, 1.0), (0.9, 2000, 2.0, 2.0), (0.95, 1500, 4.0, 1.0), (0.85, 120, 1.0, 0.6)],
)
def test_agreement_is_below_the_target_no_more_often_than_promised(target, count, sharpness, honesty):
    rng, rounds, wrong, found = np.random.default_rng(5), 300, 0, 0
    for _ in range(rounds):
        confidence, agreed = _draw(rng, count, sharpness, honesty)
        chosen = lowest_confidence(confidence, agreed, target=target, floor=FLOOR, error=ERROR).confidence
        if chosen is not None:
            found += 1
            wrong += _agreement(chosen, sharpness, honesty) < target
    assert found > rounds / 4, "it must show something, or the promise is cheap"
    assert wrong / rounds <= ERROR + 2 * math.sqrt(ERROR * (1 - ERROR) / rounds)


def test_with_many_examples_it_comes_close_to_the_best_threshold():
    confidence, agreed = _draw(np.random.default_rng(1), 20_000, 2.0, 1.0)
    chosen = lowest_confidence(confidence, agreed, target=0.9, floor=FLOOR, error=ERROR).confidence
    best = next(step / 100 for step in range(50, 100) if _agreement(step / 100, 2.0, 1.0) >= 0.9)
    assert chosen is not None
    assert best <= chosen <= best + 0.04


def test_a_good_student_answers_from_the_floor_on():
    confidence = np.linspace(0.5, 1, 300, dtype=np.float32)
    chosen = lowest_confidence(confidence, np.ones(300, dtype=bool), target=0.95, floor=FLOOR, error=ERROR)
    assert (chosen.confidence, chosen.answered, chosen.agreed, chosen.examples) == (FLOOR, 300, 300, 300)
    assert chosen.lower == pytest.approx(0.1 ** (1 / 300), abs=1e-6)


@pytest.mark.parametrize("count", [0, 1, 20])
def test_too_few_examples_show_nothing(count):
    chosen = lowest_confidence(
        np.full(count, 0.9, dtype=np.float32), np.ones(count, dtype=bool), target=0.95, floor=FLOOR, error=ERROR
    )
    assert chosen.confidence is None
    assert chosen.examples == count


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 1, width=32), st.booleans()), max_size=250),
    st.floats(0.55, 0.99),
    st.floats(0.02, 0.3),
    st.floats(0, 1),
)
def test_what_is_chosen_is_shown_by_the_examples_at_and_above_it(pairs, target, error, floor):
    confidence = np.array([one for one, _ in pairs], dtype=np.float32)
    agreed = np.array([hit for _, hit in pairs], dtype=bool)
    chosen = lowest_confidence(confidence, agreed, target=target, floor=floor, error=error)
    exact = confidence.astype(np.float64)
    assert chosen.examples == int((exact >= floor).sum())
    if chosen.confidence is not None:
        given_ones = exact >= chosen.confidence
        assert chosen.confidence >= floor
        assert (chosen.answered, chosen.agreed) == (int(given_ones.sum()), int((agreed & given_ones).sum()))
        assert lower_bound(chosen.agreed, chosen.answered, error) >= target - 1e-9
