"""The statistics of pairs: against exact sums, known properties, and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.statistics.classes import benjamini_hochberg
from training.paired import (
    brier_scores,
    difference_interval,
    mean_interval,
    midp_worse,
    not_inferior_p,
    score_statistic,
    smallest_visible_drop,
)

COUNTS = st.integers(0, 60)


@given(COUNTS, COUNTS)
def test_midp_is_the_exact_sum(gains, losses):
    trials = gains + losses
    tail = sum(math.comb(trials, k) for k in range(losses + 1, trials + 1)) + math.comb(trials, losses) / 2
    assert midp_worse(gains, losses) == pytest.approx(tail / 2**trials, rel=1e-9)
    assert midp_worse(gains, losses) + midp_worse(losses, gains) == pytest.approx(1.0)


@given(COUNTS, COUNTS)
def test_a_further_loss_is_further_evidence(gains, losses):
    assert midp_worse(gains, losses + 1) < midp_worse(gains, losses) + 1e-9


@given(st.lists(st.floats(0, 1), max_size=40), st.floats(0.01, 0.5))
def test_benjamini_hochberg_rejects_the_smallest_and_what_holm_and_bonferroni_would(p_values, rate):
    rejected = benjamini_hochberg(p_values, rate)
    assert len(rejected) == len(p_values)
    taken = [p for p, yes in zip(p_values, rejected, strict=True) if yes]
    left = [p for p, yes in zip(p_values, rejected, strict=True) if not yes]
    assert not taken or not left or max(taken) < min(left)
    assert all(yes for p, yes in zip(p_values, rejected, strict=True) if p <= rate / len(p_values))


def test_benjamini_and_hochberg_1995_table():
    # Their own example (section 3.2): four of fifteen are rejected at 0.05, Bonferroni's three and one more.
    p = [
        0.0001,
        0.0004,
        0.0019,
        0.0095,
        0.0201,
        0.0278,
        0.0298,
        0.0344,
        0.0459,
        0.3240,
        0.4262,
        0.5719,
        0.6528,
        0.7590,
        1,
    ]
    assert benjamini_hochberg(p, 0.05) == [True] * 4 + [False] * 11


@given(COUNTS, COUNTS, COUNTS)
def test_the_score_statistic_is_mcnemars_at_zero_and_mirrors(gains, losses, rest):
    texts = gains + losses + rest + 1
    if gains + losses:
        expected = (gains - losses) / math.sqrt(gains + losses)
        assert score_statistic(gains, losses, texts, 0.0) == pytest.approx(expected, abs=1e-9)
    mirrored = -score_statistic(losses, gains, texts, -0.1)
    assert score_statistic(gains, losses, texts, 0.1) == pytest.approx(mirrored, abs=1e-6)


@given(COUNTS, COUNTS, COUNTS, st.floats(0.01, 0.3))
def test_the_interval_holds_the_estimate_and_inverts_the_test(gains, losses, rest, margin):
    texts = gains + losses + rest + 1
    low, high = difference_interval(gains, losses, texts, 0.1)
    assert -1 <= low <= (gains - losses) / texts <= high <= 1
    if abs(low + margin) > 1e-6:
        assert (not_inferior_p(gains, losses, texts, margin) < 0.05) == (low > -margin)
    assert difference_interval(losses, gains, texts, 0.1) == pytest.approx((-high, -low), abs=1e-6)


@pytest.mark.parametrize(("texts", "discordant"), [(100, 0.1), (300, 0.05), (1000, 0.1)])
def test_a_candidate_that_is_worse_by_the_margin_passes_as_often_as_alpha_says(texts, discordant):
    rng, margin, alpha = np.random.default_rng(0), 0.02, 0.05
    losses, gains = (discordant + margin) / 2, (discordant - margin) / 2
    draws = rng.multinomial(texts, [gains, losses, 1 - gains - losses], 3000)
    passed = np.mean([not_inferior_p(int(g), int(lost), texts, margin) <= alpha for g, lost, _ in draws])
    assert passed < alpha + 3 * math.sqrt(alpha * (1 - alpha) / 3000)


def test_intervals_cover_what_they_say():
    rng, texts, error = np.random.default_rng(1), 200, 0.1
    gains, losses = 0.08, 0.03
    draws = rng.multinomial(texts, [gains, losses, 1 - gains - losses], 2000)
    ends = [difference_interval(int(g), int(lost), texts, error) for g, lost, _ in draws]
    missed = np.mean([not low <= gains - losses <= high for low, high in ends])
    assert missed < error + 3 * math.sqrt(error * (1 - error) / 2000)


def test_nothing_to_compare_shows_nothing():
    assert not_inferior_p(0, 0, 0, 0.02) == 1.0
    assert difference_interval(0, 0, 0, 0.1) == (-1.0, 1.0)
    assert mean_interval(np.array([]), 0.1) == (0.0, -math.inf, math.inf)


@settings(max_examples=40)
@given(st.integers(1, 2000), st.floats(0, 0.3))
def test_more_texts_show_smaller_drops(texts, discordance):
    few, more = (smallest_visible_drop(n, discordance, 0.05) for n in (texts, texts + 200))
    assert more is not None
    assert few is None or 0 < more <= few <= 1


@pytest.mark.parametrize(("texts", "discordance"), [(60, 0.05), (300, 0.05), (1000, 0.1)])
def test_the_visible_drop_is_seen_about_as_often_as_promised(texts, discordance):
    drop = smallest_visible_drop(texts, discordance, 0.05)
    assert drop is not None
    rng = np.random.default_rng(2)
    losses, gains = discordance / 2 + drop, discordance / 2
    draws = rng.multinomial(texts, [gains, losses, 1 - gains - losses], 1500)
    seen = np.mean([midp_worse(int(g), int(lost)) <= 0.05 for g, lost, _ in draws])
    assert 0.72 < seen < 0.9


def test_too_few_texts_show_no_drop():
    assert smallest_visible_drop(3, 0.0, 0.05) is None
    assert smallest_visible_drop(0, 0.0, 0.05) is None


def test_brier_scores_of_plain_cases():
    probabilities = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]], dtype=np.float32)
    assert brier_scores(probabilities, np.array([0, 0, 0])).tolist() == [0.0, 2.0, 0.5]
