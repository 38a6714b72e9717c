"""Counts of answers beside the truth, and what is missing, against scikit-learn and scipy."""

from __future__ import annotations

from collections import Counter

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2, chi2_contingency
from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support

from monitoring.statistics.classification import PAIRS, Classification, as_mean
from monitoring.statistics.confidence import confidence_sequence
from monitoring.statistics.missing import chi_squared_tail, reweighted, same_share, worst_case
from monitoring.statistics.weights import WeightedMean

labels = st.sampled_from(["a", "b", "c", "d"])
pairs = st.lists(st.tuples(labels, labels), min_size=1, max_size=80)


def counted(rows) -> Classification:
    counts = Classification()
    for truth, given_ in rows:
        counts.add(truth, given_)
    return counts


@given(pairs)
def test_scores_are_sklearns(rows):
    counts = counted(rows)
    truth, said = zip(*rows, strict=True)
    names = counts.labels
    precision, recall, f1, support = precision_recall_fscore_support(truth, said, labels=names, zero_division=np.nan)
    for i, name in enumerate(names):
        assert counts.precision(name) == (None if np.isnan(precision[i]) else pytest.approx(precision[i]))
        assert counts.recall(name) == (None if np.isnan(recall[i]) else pytest.approx(recall[i]))
        assert counts.f1(name) == pytest.approx(0.0 if np.isnan(f1[i]) else f1[i])
        assert counts.truth.get(name, 0) == support[i]
    assert counts.accuracy == pytest.approx(accuracy_score(truth, said))
    assert counts.macro_f1 == pytest.approx(f1_score(truth, said, average="macro", labels=names, zero_division=0))
    wrong = Counter(row for row in rows if row[0] != row[1])
    assert {(pair.truth, pair.given): pair.times for pair in counts.worst_pairs(100)} == wrong
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(counts), type=Classification) == counts


@given(pairs, st.data())
def test_taking_back_is_as_if_it_had_never_been(rows, data):
    counts = counted(rows)
    gone = data.draw(st.integers(0, len(rows) - 1))
    counts.take_back(*rows[gone])
    left = counted(rows[:gone] + rows[gone + 1 :])
    assert (counts.total, counts.correct, counts.pairs) == (left.total, left.correct, left.pairs)
    assert counts.labels == left.labels
    for name in left.labels:
        assert counts.f1(name) == left.f1(name)
    assert counts.macro_f1 == (None if left.macro_f1 is None else pytest.approx(left.macro_f1))


def test_confusions_are_bounded_and_the_frequent_ones_stay():
    counts, rng = Classification(), np.random.default_rng(1)
    times = 0
    for _ in range(20_000):
        if rng.random() < 0.05:
            counts.add("t", "often")
            times += 1
        else:
            counts.add(str(rng.integers(0, 100)), f"x{rng.integers(0, 100)}")
    assert len(counts.pairs) <= PAIRS
    worst = counts.worst_pairs(1)[0]
    assert (worst.truth, worst.given) == ("t", "often")
    assert times - counts.cut <= worst.times <= times
    assert counts.cut <= 20_000 / (PAIRS + 1)


@given(st.integers(0, 200), st.integers(0, 200))
def test_counts_as_a_mean_are_those_added_one_by_one(right, wrong):
    mean = WeightedMean()
    for i in range(right + wrong):
        mean.add(i < right, 1.0)
    whole = as_mean(right, right + wrong)
    assert confidence_sequence(whole, 0.05) == confidence_sequence(mean, 0.05)
    assert (whole.count, whole.estimate, whole.effective) == (mean.count, mean.estimate, mean.effective)


@given(st.floats(0, 400), st.integers(1, 340))
def test_the_tail_is_scipys(statistic, degrees):
    assert chi_squared_tail(statistic, degrees) == pytest.approx(chi2.sf(statistic, degrees), rel=1e-6, abs=1e-12)


cells = st.lists(st.tuples(st.integers(20, 400), st.floats(0.3, 0.7)), min_size=2, max_size=8)


@settings(max_examples=60)
@given(cells)
def test_the_test_is_scipys_where_cells_are_full(rows):
    counts = {str(i): count for i, (count, _) in enumerate(rows)}
    marked = {str(i): round(count * share) for i, (count, share) in enumerate(rows)}
    found = same_share(counts, marked)
    table = [[marked[name], counts[name] - marked[name]] for name in counts]
    expected = chi2_contingency(table, correction=False)
    assert (found.statistic, found.degrees) == (pytest.approx(expected.statistic, abs=1e-8), expected.dof)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)
    assert 0 <= found.distance <= 1 + 1e-9


def test_what_is_missing_at_random_is_rarely_called_uneven_also_in_sparse_cells():
    rng, small = np.random.default_rng(5), 0
    sizes = np.maximum(rng.pareto(1.2, 77) * 10, 1).astype(int)
    for _ in range(1000):
        counts = {str(i): int(n) for i, n in enumerate(sizes)}
        marked = {str(i): int(rng.binomial(n, 0.05)) for i, n in enumerate(sizes)}
        small += same_share(counts, marked).p_value <= 0.05
    assert small / 1000 <= 0.075


def test_too_little_to_compare_is_no_difference():
    assert same_share({}, {}).p_value == 1.0
    assert same_share({"a": 10}, {"a": 3}).p_value == 1.0
    assert same_share({"a": 10, "b": 0}, {"a": 3}).p_value == 1.0
    assert same_share({"a": 3, "b": 4}, {"a": 3, "b": 4}).p_value == 1.0
    assert same_share({"a": 1000, "b": 1000}, {"a": 100, "b": 300}).p_value < 1e-9


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 200), st.data())
def test_the_worst_case_holds_whatever_the_rest_is(right, wrong, missing, data):
    known, total = right + wrong, right + wrong + missing
    bounds = worst_case(right, known, total)
    if not total:
        assert bounds is None
        return
    truth = right + data.draw(st.integers(0, missing))
    assert bounds[0] - 1e-12 <= truth / total <= bounds[1] + 1e-12
    assert worst_case(right, known, 0) == (None if not known else (right / known, right / known))


def test_reweighting_undoes_what_depends_on_the_class_alone():
    counts, shares, accuracy = {"a": 900, "b": 100, "c": 50}, {"a": 0.01, "b": 0.5}, {"a": 0.95, "b": 0.5}
    known = {name: round(counts[name] * share * 1000) for name, share in shares.items()}
    right = {name: round(known[name] * accuracy[name]) for name in known}
    assert reweighted(counts, right, known) == pytest.approx((900 * 0.95 + 100 * 0.5) / 1000)
    assert reweighted(counts, {}, {}) is None
