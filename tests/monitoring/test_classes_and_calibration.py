"""Which classes lost, and how well confidence tells agreement."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.statistics.calibration import Calibration
from monitoring.statistics.classes import benjamini_hochberg, drop_p

p_values = st.lists(st.floats(0, 1), min_size=1, max_size=40)


@given(p_values, st.floats(0.01, 0.3))
def test_rejections_grow_with_the_rate_and_are_the_smallest(values, rate):
    rejected = benjamini_hochberg(values, rate)
    wider = benjamini_hochberg(values, min(2 * rate, 1.0))
    assert all(b for a, b in zip(rejected, wider, strict=True) if a)
    if any(rejected):
        limit = max(p for p, r in zip(values, rejected, strict=True) if r)
        assert all(r for p, r in zip(values, rejected, strict=True) if p <= limit)


def test_the_false_discovery_rate_is_held():
    rng, found = np.random.default_rng(1), []
    for _ in range(400):
        rejected = benjamini_hochberg(list(rng.random(77)), 0.1)
        found.append(any(rejected))
    assert np.mean(found) <= 0.14


@given(st.integers(0, 60), st.floats(0, 1), st.integers(0, 60), st.floats(0, 1))
def test_a_p_value_is_one(n, before, m, after):
    assert 0 <= drop_p((n, before), (m, after)) <= 1


def test_the_p_value_is_fishers_with_half_of_the_observed():
    # Of 5 + 5, 3 disagree, all of them afterwards: C(5,3) C(5,0) / C(10,3) = 10/120, of which half counts.
    assert drop_p((5, 1.0), (5, 0.4)) == pytest.approx(10 / 120 / 2)
    assert drop_p((40, 0.95), (20, 0.4)) < 1e-5
    assert drop_p((40, 0.5), (20, 0.9)) > 0.9
    assert drop_p((0, 0.0), (20, 0.4)) == 0.5


@pytest.mark.parametrize(("n", "m"), [(60, 20), (200, 30)])
def test_without_a_drop_p_values_are_rarely_small(n, m):
    rng = np.random.default_rng(2)
    pairs = [(rng.binomial(n, 0.9) / n, rng.binomial(m, 0.9) / m) for _ in range(2_000)]
    assert np.mean([drop_p((n, a), (m, b)) <= 0.05 for a, b in pairs]) <= 0.06


def test_calibration_sums_up():
    calibration = Calibration()
    assert (calibration.ece, calibration.brier, calibration.nll) == (None, None, None)
    for agrees in (True, True, True, False):
        calibration.add(agrees, 0.75, 1.0, 0.75 if agrees else 0.25)
    calibration.add(True, 1.0, 2.0)
    assert calibration.ece == pytest.approx(0.0)
    assert calibration.brier == pytest.approx((3 * 0.0625 + 0.5625) / 6)
    assert calibration.nll == pytest.approx(-(3 * math.log(0.75) + math.log(0.25)) / 4)
    bars = calibration.reliability()
    assert [bar.comparisons for bar in bars if bar is not None] == [4, 1]
    assert bars[7] is not None
    assert bars[7].agreement == bars[7].confidence == 0.75


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1), st.floats(0.01, 1)), min_size=1, max_size=50))
def test_calibration_stays_in_its_bounds(comparisons):
    calibration = Calibration()
    for agrees, confidence, weight in comparisons:
        calibration.add(agrees, confidence, weight, confidence)
    assert calibration.ece is not None
    assert calibration.brier is not None
    assert calibration.nll is not None
    assert -1e-9 <= calibration.ece <= 1 + 1e-9
    assert -1e-9 <= calibration.brier <= 1 + 1e-9
    assert calibration.nll >= 0
