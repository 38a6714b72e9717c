from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from core.models.calibration import expected_calibration_error, fit_temperature, nll, softmax

logits = arrays(np.float32, (7, 4), elements=st.floats(-200, 200, width=32))
targets = arrays(np.int64, 7, elements=st.integers(0, 3))


@given(logits, st.floats(0.02, 50))
def test_softmax_is_a_distribution_and_keeps_the_order(values, temperature):
    probabilities = softmax(values, temperature)
    assert np.isfinite(probabilities).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    best = values.argmax(axis=1)
    rows = np.arange(len(values))
    np.testing.assert_array_equal(probabilities[rows, best], probabilities.max(axis=1))


@given(logits, targets)
@settings(deadline=None)
def test_the_fitted_temperature_is_never_worse_than_none(values, classes):
    temperature = fit_temperature(values, classes)
    assert 0.02 <= temperature <= 50
    assert nll(values, classes, temperature) <= nll(values, classes)


@given(logits, targets)
@settings(deadline=None)
def test_hard_targets_are_one_hot_distributions(values, classes):
    soft = np.eye(4)[classes]
    assert nll(values, classes) == pytest.approx(nll(values, soft), rel=1e-9, abs=1e-9)
    assert nll(values, soft, fit_temperature(values, soft)) <= nll(values, soft)


@pytest.mark.parametrize("planted", [0.25, 1.0, 3.0])
def test_a_planted_temperature_is_found(planted):
    generator = np.random.default_rng(5)
    true_logits = generator.normal(0, 2, (20_000, 6))
    drawn = np.array(
        [
            generator.choice(6, p=row)
            for row in softmax(true_logits).astype(np.float64)
            / softmax(true_logits).astype(np.float64).sum(axis=1, keepdims=True)
        ]
    )
    found = fit_temperature(true_logits * planted, drawn)
    assert found == pytest.approx(planted, rel=0.05)
    confidences = softmax(true_logits * planted, found)
    correct = confidences.argmax(axis=1) == drawn
    assert expected_calibration_error(confidences.max(axis=1), correct) < 0.02


def test_without_data_nothing_changes():
    assert fit_temperature(np.zeros((0, 3)), np.zeros(0, dtype=np.int64)) == 1.0
    assert expected_calibration_error(np.zeros(0), np.zeros(0, dtype=bool)) == 0.0


def test_calibration_error_by_hand():
    confidences = np.array([0.95, 0.95, 0.55, 1.0])
    correct = np.array([True, False, True, True])
    # bins of width 0.1: two at .95 (accuracy .5) with one at 1.0, one at .55
    expected = abs((1 + 0 + 1) - (0.95 + 0.95 + 1.0)) / 4 + abs(1 - 0.55) / 4
    assert expected_calibration_error(confidences, correct, bins=10) == pytest.approx(expected)
