"""The statistics of drift: Evidently's numbers, exact tests, and what is promised of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.drift import by_evidently
from monitoring.drift.embeddings import MeanDiscrepancy, median_distance, random_features
from monitoring.drift.labels import compare_labels, jensen_shannon, psi, table_of
from monitoring.drift.numbers import Wasserstein, within_classes
from monitoring.drift.permutations import sequential_p, strata_of
from monitoring.drift.prior_shift import most_likely_shares
from monitoring.drift.rates import more_often
from monitoring.drift.rows import Row, without_bursts
from monitoring.drift.sampling import Reservoir
from monitoring.drift.season import slot_of
from monitoring.drift.texts import shape, unknown_share, vocabulary_of, word_hashes

counts = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=2, max_size=12).filter(
    lambda pairs: sum(a for a, _ in pairs) > 0 and sum(b for _, b in pairs) > 0
)
labels = st.lists(st.sampled_from("abcd"), min_size=1, max_size=30)


def called_drift(level: float, windows: int, *, classes: int, before: int, now: int, seed: int = 0) -> float:
    """The share of windows without drift whose labels are called drift at this level."""
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.ones(classes))
    called = 0
    for _ in range(windows):
        sides = [{0: dict(enumerate(map(int, rng.multinomial(n, weights))))} for n in (before, now)]
        named = [{0: {f"c{k}": v for k, v in side[0].items()}} for side in sides]
        called += compare_labels(table_of(*named), rng, level).p_value <= level
    return called / windows


@given(counts)
def test_distances_are_not_negative_and_zero_for_the_same(pairs):
    p, q = (np.array(side) / sum(side) for side in zip(*pairs, strict=True))
    assert psi(p, q) >= -1e-9
    assert 0 <= jensen_shannon(p, q) <= np.sqrt(np.log(2)) + 1e-9
    assert psi(p, p) == pytest.approx(0)
    assert jensen_shannon(p, p) == pytest.approx(0, abs=1e-7)


def test_the_scores_are_evidentlys():
    rng = np.random.default_rng(1)
    names = [[f"c{i}" for i in rng.choice(30, size=n, p=rng.dirichlet(np.ones(30)))] for n in (900, 300)]
    values = [rng.gamma(2, size=n) for n in (900, 300)]
    shown = by_evidently.scores((names[0], names[1]), {"length": (values[0], values[1])})
    found = sorted({*names[0], *names[1]})
    p, q = (np.array([side.count(name) for name in found]) / len(side) for side in names)
    assert shown["label_psi"] == pytest.approx(float(psi(p, q)))
    assert shown["label_jensen_shannon"] == pytest.approx(float(jensen_shannon(p, q)))
    flags = np.concatenate([np.zeros(900), np.ones(300)])[None].astype(np.float32)
    assert shown["length_wasserstein"] == pytest.approx(Wasserstein(np.concatenate(values))(flags)[0], rel=1e-3)


@given(labels, labels, st.integers(0, 1000))
def test_random_windows_keep_the_size_of_each_class(before, now, seed):
    strata = strata_of(before, now)
    drawn = strata.draw(5, np.random.default_rng(seed))
    names = np.array([*before, *now])[strata.order]
    for flags in (strata.observed[0], *drawn):
        assert sorted(names[flags]) == sorted(now)
    assert set(strata.order[strata.observed[0]]) == set(range(len(before), len(before) + len(now)))


@given(st.lists(st.floats(-5, 5), min_size=4, max_size=60), st.integers(1, 1000))
def test_the_distance_is_that_of_the_sorted_values(values, seed):
    rng = np.random.default_rng(seed)
    flags = np.zeros(len(values), dtype=bool)
    flags[rng.permutation(len(values))[: max(1, len(values) // 3)]] = True
    array = np.array(values)
    grid = np.sort(array)
    share = [np.searchsorted(np.sort(array[side]), grid[:-1], side="right") / side.sum() for side in (flags, ~flags)]
    expected = np.abs(share[0] - share[1]) @ np.diff(grid) / max(array[~flags].std(), 0.001)
    found = Wasserstein(array)(flags[None].astype(np.float32))[0]
    assert found == pytest.approx(expected, rel=2e-2, abs=2e-3)


def test_the_mean_discrepancy_is_about_the_kernels():
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((120, 8)).astype(np.float32)
    vectors[80:] += 1.0
    width = median_distance(vectors)
    squares = ((vectors[:, None] - vectors[None]) ** 2).sum(axis=2)
    kernel = np.exp(-squares / (2 * width**2))
    exact = kernel[:80, :80].mean() + kernel[80:, 80:].mean() - 2 * kernel[:80, 80:].mean()
    flags = np.concatenate([np.zeros(80), np.ones(40)])[None].astype(np.float32)
    one_class = np.zeros(120, dtype=np.int64)
    found = MeanDiscrepancy(random_features(vectors, width, "7"), one_class)(flags)[0]
    assert found**2 == pytest.approx(exact, rel=0.2)


@given(st.integers(0, 30), st.integers(1, 30), st.integers(0, 60), st.integers(1, 60))
def test_fishers_test_is_the_hypergeometric_tail(now, of_now, before, of_before):
    now, before = min(now, of_now), min(before, of_before)
    hits, total = now + before, of_now + of_before
    exact = sum(
        math.comb(of_now, k) * math.comb(of_before, hits - k) for k in range(now, min(of_now, hits) + 1)
    ) / math.comb(total, hits)
    assert more_often(now, of_now, before, of_before) == pytest.approx(exact, rel=1e-6)


def test_a_sequential_p_value_is_no_smaller_than_it_may_be():
    """Of scores that are uniform, the p-value is at most p with probability p at most."""
    rng = np.random.default_rng(5)
    found = np.array([sequential_p(u, rng.random, 1 / 200) for u in rng.random(3000)])
    for level in (0.005, 0.05, 0.2, 0.5):
        assert np.mean(found <= level) <= level + 3 * math.sqrt(level / len(found))
    assert sequential_p(2.0, rng.random, 1 / 200) <= 1 / 200


@pytest.mark.parametrize(("classes", "before", "now"), [(20, 600, 300), (335, 2000, 1000)])
def test_labels_without_drift_are_called_drift_as_often_as_promised(classes, before, now):
    level, windows = 0.1, 25
    share = called_drift(level, windows, classes=classes, before=before, now=now)
    assert share <= level + 3 * math.sqrt(level * (1 - level) / windows)


def test_labels_that_moved_are_drift_whatever_the_number_of_classes():
    rng = np.random.default_rng(3)
    weights = rng.dirichlet(np.ones(335))
    moved = weights * np.exp(rng.standard_normal(335))
    sides = [
        {0: {f"c{k}": int(v) for k, v in enumerate(rng.multinomial(n, w / w.sum()))}}
        for n, w in ((2000, weights), (1000, moved))
    ]
    assert compare_labels(table_of(*sides), rng, 1e-4).p_value <= 1e-4


def test_the_hours_of_the_week_are_compared_with_themselves():
    """Labels that come in the morning alone are no drift in the morning."""
    before = {0: {"a": 400, "b": 100}, 1: {"a": 100, "b": 400}}
    now = {1: {"a": 40, "b": 160}}
    rng = np.random.default_rng(0)
    assert compare_labels(table_of(before, now), rng, 1e-3).p_value > 0.1
    whole = [{0: {"a": 500, "b": 500}}, {0: now[1]}]
    assert compare_labels(table_of(*whole), rng, 1e-3).p_value <= 1e-3
    assert slot_of(0.0) == slot_of(7 * 86_400.0 + 3599) != slot_of(4 * 3600.0)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(-9, 9) | st.none()), min_size=1, max_size=40))
def test_within_classes_means_are_zero(pairs):
    codes = np.array(["abc".index(name) for name, _ in pairs])
    values = np.array([np.nan if value is None else value for _, value in pairs])
    rest = within_classes(values, codes)
    for code in set(codes.tolist()):
        assert rest[codes == code].sum() == pytest.approx(0, abs=1e-6)
    assert not rest[np.isnan(values)].any()


def test_shares_of_classes_are_found_behind_a_student_that_errs():
    """Saerens, Latinne and Decaestecker: exact posteriors under the old shares give the new ones."""
    rng = np.random.default_rng(2)
    old, new = np.array([0.5, 0.3, 0.2]), np.array([0.15, 0.25, 0.6])
    means = np.array([0.0, 1.0, 2.0])
    x = rng.normal(means[rng.choice(3, size=4000, p=new)], 1.0)
    likelihood = np.exp(-((x[:, None] - means) ** 2) / 2)
    posterior = likelihood * old / (likelihood @ old)[:, None]
    naive = np.bincount(posterior.argmax(axis=1), minlength=3) / len(x)
    weights = np.full((1, len(x)), 1 / len(x), dtype=np.float32)
    found = most_likely_shares(posterior.astype(np.float32), weights, old[None].astype(np.float32))[0]
    assert np.abs(found - new).sum() < 0.1
    assert np.abs(found - new).sum() < np.abs(naive - new).sum()


def test_texts_are_described_without_being_kept():
    assert shape("Hello, world 42!") == (16, 2, pytest.approx(4 / 14))
    assert shape("") == (0, 0, 0.0)
    known = vocabulary_of([word_hashes("where is my parcel"), word_hashes("Where is IT"), word_hashes("alice")])
    assert len(known) == 2 * 4  # `where` and `is`: of which two texts speak
    assert unknown_share(word_hashes("where is alice"), known) == pytest.approx(1 / 3)
    assert unknown_share(word_hashes("42"), known) == 0.0
    assert unknown_share(word_hashes("hm"), b"") == 1.0


@given(st.text(max_size=300))
@settings(max_examples=60)
def test_any_text_has_a_shape(text):
    length, words, share = shape(text)
    assert length == len(text)
    assert words >= 0
    assert 0 <= share <= 1
    assert len(word_hashes(text)) <= 64 * 4


def row(i: int, cluster: str = "") -> Row:
    return Row(f"ex_{i:05d}", float(i), "a", 0.9, cluster=cluster)


def test_bursts_count_as_one_and_popular_questions_as_often_in_any_sample():
    rows = [row(i, "same" if 100 <= i < 130 else f"k{i}") for i in range(300)]
    assert len(without_bursts(rows)) == 300 - 29
    rng = np.random.default_rng(0)
    shares = []
    for size in (500, 5000):
        popular = [row(i, "hello" if rng.random() < 0.02 else f"k{i}") for i in range(size)]
        kept = without_bursts(popular)
        shares.append(sum(one.cluster == "hello" for one in kept) / len(kept))
    assert shares[0] == pytest.approx(shares[1], abs=0.008)


def test_a_flood_of_one_question_leaves_one():
    assert len(without_bursts([row(i, "same") for i in range(200)])) == 1
    assert without_bursts([]) == []


@pytest.mark.parametrize("arrivals", [40, 700])
def test_every_exchange_has_the_same_chance_to_be_in_a_sample(arrivals):
    inside = np.zeros(arrivals)
    for trial in range(300):
        sample = Reservoir(30, f"trial {trial}")
        for i in range(arrivals):
            if sample.wants(float(i + 1)):
                sample.take(row(i))
        assert len(sample.rows) == 30
        assert sample.seen == arrivals
        for one in sample.rows:
            inside[int(one.exchange[3:])] += 1
    thirds = inside.reshape(-1, arrivals // 10).sum(axis=1) / (300 * 30)
    assert thirds == pytest.approx(np.full(10, 0.1), abs=0.02)
