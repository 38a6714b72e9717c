"""Weighted agreement and its confidence sequence."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.statistics.confidence import confidence_sequence, lower_limit, upper_limit
from monitoring.statistics.weights import Scale, WeightedMean, bucket_of, less

weights = st.floats(1e-5, 1.0)
comparisons = st.lists(st.tuples(st.booleans(), weights), min_size=1, max_size=60)


def mean_of(pairs) -> WeightedMean:
    mean = WeightedMean()
    for agrees, weight in pairs:
        mean.add(agrees, weight)
    return mean


@given(weights)
def test_a_weight_lies_in_its_bucket(weight):
    k = bucket_of(weight)
    assert 2.0 ** -(k + 1) < weight <= 2.0**-k


@given(comparisons)
def test_the_estimate_lies_in_the_interval_and_all_in_0_1(pairs):
    interval = confidence_sequence(mean_of(pairs), 0.05)
    assert interval is not None
    assert 0 <= interval.lower <= interval.estimate + 1e-9
    assert interval.estimate <= interval.upper + 1e-9 <= 1 + 2e-9


@given(comparisons)
def test_agreement_and_disagreement_mirror_each_other(pairs):
    mean, mirrored = mean_of(pairs), mean_of((not agrees, weight) for agrees, weight in pairs)
    assert lower_limit(mean, 0.05) == pytest.approx(1 - upper_limit(mirrored, 0.05), abs=1e-6)


@given(comparisons, st.floats(0.001, 0.3))
def test_more_certainty_is_wider(pairs, alpha):
    mean = mean_of(pairs)
    assert lower_limit(mean, alpha / 2) <= lower_limit(mean, alpha) + 1e-8


@given(comparisons, st.floats(0.01, 0.99), st.integers(0, 23))
def test_wealth_kept_in_buckets_is_never_counted_too_high(pairs, m, which):
    share = float(np.geomspace(1e-4, 0.95, 24)[which])
    exact = sum(np.log1p(share / m * w * (a - m)) for a, w in pairs)
    mean, kept = mean_of(pairs), 0.0
    for k, (good, bad) in mean.buckets.items():
        v = 2.0**-k
        kept += good * np.log1p(share / m * v * (1 - m)) + bad * np.log1p(-share * v)
    assert kept <= exact + 1e-9


def test_nothing_is_known_without_comparisons():
    assert confidence_sequence(WeightedMean(), 0.05) is None
    assert (lower_limit(WeightedMean(), 0.05), upper_limit(WeightedMean(), 0.05)) == (0.0, 1.0)
    assert WeightedMean().effective == 0.0


def test_the_interval_is_narrow():
    interval = confidence_sequence(mean_of([(i % 100 >= 7, 1.0) for i in range(2000)]), 0.05)
    assert interval is not None
    assert interval.estimate == 0.93
    assert 0.905 < interval.lower < 0.93 < interval.upper < 0.949


def test_what_is_sampled_more_counts_less():
    """Half of the exchanges are unsure, and sampled five times as often; they agree less."""
    rng = np.random.default_rng(7)
    scale, mean, plain = Scale(0.1), WeightedMean(), []
    for _ in range(60_000):
        unsure = rng.random() < 0.5
        probability = 0.5 if unsure else 0.1
        if rng.random() < probability:
            agrees = bool(rng.random() < (0.7 if unsure else 0.99))
            mean.add(agrees, scale.weigh(probability))
            plain.append(agrees)
    interval = confidence_sequence(mean, 0.05)
    assert interval is not None
    assert np.mean(plain) < 0.77
    assert interval.lower < 0.845 < interval.upper
    assert mean.estimate == pytest.approx(0.845, abs=0.015)
    assert mean.effective < mean.count


@pytest.mark.parametrize("sampled", [False, True], ids=["uniform", "weighted"])
def test_it_covers_the_truth_at_all_times(sampled):
    """120 streams, looked at again and again: far fewer than 5 % may ever miss."""
    rng = np.random.default_rng(11)
    missed = 0
    for _ in range(120):
        mean, scale, truth, wrong = WeightedMean(), Scale(0.1), 0.845 if sampled else 0.93, False
        for i in range(1, 1501):
            unsure = sampled and rng.random() < 5 / 6  # of those drawn
            agrees = bool(rng.random() < ((0.7 if unsure else 0.99) if sampled else 0.93))
            mean.add(agrees, scale.weigh(0.5 if unsure else 0.1))
            if i % 60 == 0:
                interval = confidence_sequence(mean, 0.05)
                assert interval is not None
                wrong |= not interval.lower <= truth <= interval.upper
        missed += wrong
    assert missed <= 6


@settings(max_examples=50)
@given(st.lists(st.floats(1e-3, 1.0), min_size=1, max_size=2000))
def test_the_scale_is_fixed_beforehand_and_bounds_the_weights(probabilities):
    scale = Scale(0.05)
    for probability in probabilities:
        factor = scale.factor
        assert scale.weigh(probability) == min(factor / probability, 1.0)
        assert scale.factor <= max(probability, factor)
    assert scale.cut <= len(probabilities)


def test_the_scale_follows_a_budget_down_and_up_again():
    scale = Scale(0.05)
    assert [scale.weigh(p) for p in (0.05, 0.1, 0.01, 0.01)] == [1.0, 0.5, 1.0, 1.0]
    assert scale.cut == 1
    for _ in range(600):
        scale.weigh(0.2)
    assert scale.factor == 0.2


@given(comparisons, comparisons)
def test_a_part_can_be_taken_out(first, second):
    effective, agreement = less(mean_of(first + second), mean_of(second))
    alone = mean_of(first)
    assert agreement == pytest.approx(alone.estimate, abs=1e-3)
    assert effective == pytest.approx(alone.effective, rel=1e-3, abs=1e-3)
