"""Exact statements about proportions, held against direct sums and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.statistics.binomial import binomial_cdf, evidence_above, lower_bound

COUNTS = st.integers(0, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
OPEN = st.floats(0.01, 0.99)


@given(COUNTS, OPEN)
def test_the_distribution_is_a_sum_of_terms(counts, probability):
    k, n = counts
    terms = [math.comb(n, i) * probability**i * (1 - probability) ** (n - i) for i in range(k + 1)]
    assert binomial_cdf(k, n, probability) == pytest.approx(math.fsum(terms), rel=1e-9)


def test_it_holds_far_out_as_well():
    assert binomial_cdf(-1, 5, 0.5) == 0.0
    assert binomial_cdf(5, 5, 0.5) == 1.0
    assert binomial_cdf(2_400, 50_000, 0.05) == pytest.approx(0.0201, abs=1e-4)
    assert 0.0 <= binomial_cdf(10, 100_000, 0.9) < 1e-300


@given(COUNTS.filter(lambda counts: counts[1] > 0), st.floats(0.01, 0.4))
def test_a_lower_bound_is_where_the_test_turns(counts, error):
    k, n = counts
    bound = lower_bound(k, n, error)
    assert 0 <= bound <= k / n
    if k:
        assert 1 - binomial_cdf(k - 1, n, max(bound, 1e-9)) == pytest.approx(error, rel=1e-3)


def test_known_bounds():
    assert lower_bound(95, 100, 0.1) == pytest.approx(0.9092, abs=1e-4)
    assert lower_bound(20, 20, 0.05) == pytest.approx(0.05 ** (1 / 20), abs=1e-6)
    assert lower_bound(0, 20, 0.05) == lower_bound(0, 0, 0.05) == 0.0


@given(COUNTS, OPEN)
def test_evidence_is_the_integral_that_it_is_said_to_be(counts, limit):
    k, n = counts
    q = limit + (1 - limit) * (np.arange(20_000) + 0.5) / 20_000
    ratios = k * np.log(q / limit) + (n - k) * np.log((1 - q) / (1 - limit))
    assert evidence_above(k, n, limit) == pytest.approx(float(np.exp(ratios).mean()), rel=2e-3)


def test_who_looks_after_every_trial_is_still_rarely_wrong():
    rng = np.random.default_rng(3)
    wrong = 0
    for _ in range(400):
        hits = np.cumsum(rng.random(200) < 0.1)
        wrong += any(evidence_above(int(k), n, 0.1) >= 20 for n, k in enumerate(hits, start=1))
    assert wrong / 400 <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 400)


def test_a_few_failures_on_one_side_are_evidence():
    assert evidence_above(1, 1, 0.05) < 100 < evidence_above(2, 2, 0.05)
    assert evidence_above(2, 20, 0.05) < 5
    assert evidence_above(10_000, 10_000, 0.05) == math.inf
