"""Calibration, against direct computation; its noise, against simulation; and the promise of the detector."""

from __future__ import annotations

import itertools
import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss

from core.labels import pack_floats
from monitoring.statistics.calibration import CELLS, Bin, Calibration, cell_of, ece_of, noise_of
from monitoring.statistics.detector import Mark, threshold
from monitoring.statistics.distributions import Distributions
from monitoring.statistics.expected import Expected
from monitoring.statistics.overconfidence import Overconfidence

HERE = Mark(1, "ex_1", 0.0)
confidences = st.one_of(st.floats(0, 1), st.floats(0.9, 1), st.sampled_from([0.0, 0.5, 0.9, 0.99, 1.0]))
answers = st.lists(st.tuples(st.booleans(), confidences, st.floats(0.01, 1)), min_size=1, max_size=60)


@given(st.lists(confidences, min_size=2, max_size=50))
def test_cells_rise_with_confidence_and_refine_the_ten_bins(values):
    cells = [cell_of(value) for value in sorted(values)]
    assert cells == sorted(cells)
    assert 0 <= cells[0] <= cells[-1] < CELLS
    for value in values:
        tenth = min(cell_of(value) // 10, 9)
        assert tenth / 10 - 1e-9 <= value
        assert value < (tenth + 1) / 10 + 1e-9 or tenth == 9


def test_cells_above_nine_tenths_are_narrow():
    grid = np.linspace(0.9, 1.0, 20_001)
    cells = np.array([cell_of(value) for value in grid])
    assert len(set(cells)) == CELLS - 90
    for cell in set(cells) - {CELLS - 1}:
        inside = grid[cells == cell]
        assert inside.max() - inside.min() <= (1 - inside.min()) / 8 + 1e-4


@given(answers)
def test_scores_are_those_computed_directly(rows):
    calibration = Calibration()
    for agrees, confidence, weight in rows:
        calibration.add(agrees, confidence, weight, max(confidence, 1e-3))
    a, c, w = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    tenth = np.array([min(cell_of(value) // 10, 9) for value in c])
    direct = sum(abs((w * (a - c))[tenth == k].sum()) for k in range(10)) / w.sum()
    assert calibration.ece == pytest.approx(direct, abs=1e-9)
    assert calibration.brier == pytest.approx(brier_score_loss(a, c, sample_weight=w), abs=1e-9)
    assert calibration.nll == pytest.approx(-(w * np.log(np.maximum(c, 1e-3))).sum() / w.sum())
    assert calibration.confidence == pytest.approx((w * c).sum() / w.sum())
    assert calibration.agreement == pytest.approx((w * a).sum() / w.sum())
    assert calibration.count == len(rows)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(calibration), type=Calibration) == calibration


def test_the_bins_are_those_of_sklearn():
    rng = np.random.default_rng(3)
    c = rng.beta(6, 1, 4000)
    a = rng.random(4000) < c**1.3
    calibration = Calibration()
    for agrees, confidence in zip(a, c, strict=True):
        calibration.add(bool(agrees), float(confidence), 1.0)
    for bins, strategy in ((calibration.reliability(), "uniform"), (calibration.equal_mass(), "quantile")):
        shares, means = calibration_curve(a, c, n_bins=10, strategy=strategy)
        full = [one for one in bins if one is not None]
        assert len(full) == len(shares)
        close = 1e-9 if strategy == "uniform" else 0.02  # a cell lies in one bin as a whole
        assert [one.confidence for one in full] == pytest.approx(means, abs=close)
        assert [one.agreement for one in full] == pytest.approx(shares, abs=2 * close)
    weights = [one.weight for one in calibration.equal_mass() if one is not None]
    assert min(weights) > 300
    assert max(weights) < 500


def test_one_confidence_is_one_bin_of_equal_mass():
    calibration = Calibration()
    for _ in range(20):
        calibration.add(True, 1.0, 0.5)
    bins = calibration.equal_mass()
    assert sum(one is not None for one in bins) == 1
    assert ece_of(bins) == ece_of([None]) or ece_of(bins) == 0.0
    assert noise_of([None]) is None


@pytest.mark.parametrize("size", [100, 300, 1500])
def test_a_calibrated_student_is_in_its_noise(size):
    rng = np.random.default_rng(size)
    errors, found = [], None
    for _ in range(200):
        calibration = Calibration()
        for confidence in rng.beta(8, 1, size):
            calibration.add(bool(rng.random() < confidence), float(confidence), 1.0)
        errors.append(calibration.ece)
        found = noise_of(calibration.reliability())
    assert found is not None
    assert found.mean == pytest.approx(np.mean(errors), rel=0.12)
    assert found.upper == pytest.approx(np.quantile(errors, 0.95), rel=0.2)


@given(st.integers(1, 400), st.floats(0.001, 0.999))
def test_the_noise_of_one_bin_is_the_binomials(size, p):
    of_k = np.arange(size + 1)
    direct = float(np.abs(of_k / size - p) @ binom.pmf(of_k, size, p))
    noise = noise_of([Bin(size, p, p, float(size), float(size))])
    assert noise is not None
    assert noise.mean == pytest.approx(direct, rel=1e-6)


def distribution(rng: np.random.Generator, classes: int) -> np.ndarray:
    shares: np.ndarray = rng.dirichlet(np.ones(classes))
    return shares


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 40), st.integers(1, 40), st.integers(0, 10_000))
def test_distributions_are_scored_as_directly(classes, size, seed):
    rng = np.random.default_rng(seed)
    found = Distributions()
    p, w = [], rng.uniform(0.05, 1, size)
    teachers = rng.integers(0, classes, size)
    for teacher, weight in zip(teachers, w, strict=True):
        packed = pack_floats(distribution(rng, classes))
        p.append(np.frombuffer(packed, dtype="<f2").astype(float))
        assert found.add(packed, int(teacher), float(weight)) == p[-1][teacher]
        found = msgspec.msgpack.decode(msgspec.msgpack.encode(found), type=Distributions)
    table, said = np.array(p), np.eye(classes)[teachers]
    bins = np.minimum((table * 10).astype(int), 9)
    gaps = w[:, None] * (said - table)
    direct = [sum(abs(gaps[bins[:, k] == b, k].sum()) for b in range(10)) / w.sum() for k in range(classes)]
    assert found.by_class() == pytest.approx(direct, abs=1e-9)
    assert found.ece == pytest.approx(np.mean(direct), abs=1e-9)
    assert found.brier == pytest.approx((w * ((table - said) ** 2).sum(axis=1)).sum() / w.sum(), abs=1e-9)


def test_the_nll_is_sklearns():
    rng = np.random.default_rng(7)
    calibration, found = Calibration(), Distributions()
    table, teachers = [], rng.integers(0, 5, 300)
    for teacher in teachers:
        packed = pack_floats(distribution(rng, 5))
        table.append(np.frombuffer(packed, dtype="<f2").astype(float))
        calibration.add(True, 0.5, 1.0, found.add(packed, int(teacher), 1.0))
    rows = np.array(table)
    assert calibration.nll == pytest.approx(
        log_loss(teachers, rows / rows.sum(axis=1, keepdims=True), labels=range(5)), abs=1e-3
    )


def test_a_distribution_of_another_size_or_label_is_left_out():
    found = Distributions()
    assert (found.ece, found.brier, found.noise) == (None, None, None)
    assert found.add(pack_floats([0.5, 0.5]), 2, 1.0) is None
    assert found.add(pack_floats([0.5, 0.5]), 1, 1.0) == 0.5
    assert found.add(pack_floats([0.5, 0.25, 0.25]), 1, 1.0) is None
    assert found.add(b"", 0, 1.0) is None
    assert found.count == 1


@pytest.mark.parametrize(("classes", "size"), [(5, 400), (77, 400), (335, 1000)])
def test_class_wise_noise_is_what_calibration_shows(classes, size):
    rng = np.random.default_rng(classes)
    errors, noises = [], []
    for _ in range(8):
        found = Distributions()
        for _ in range(size):
            p = distribution(rng, classes)
            found.add(pack_floats(p), int(rng.choice(classes, p=p)), 1.0)
        errors.append(found.ece)
        noises.append(found.noise)
    assert np.mean(noises) == pytest.approx(np.mean(errors), rel=0.2)


def observe(detector: Overconfidence, rng: np.random.Generator, excess: float, weight: float = 1.0) -> None:
    confidence = rng.uniform(0.6, 1.0)
    detector.observe(bool(rng.random() < confidence - excess), float(confidence), weight, 0.05, HERE)


def test_overconfidence_is_found_soon_also_after_a_long_calm():
    rng, limit = np.random.default_rng(1), threshold(20_000, 0.01)
    detector = Overconfidence()
    for _ in range(5000):
        observe(detector, rng, 0.0)
    assert detector.value < limit
    assert detector.excess == pytest.approx(0.0, abs=0.03)
    detector.note()
    needed = next(n for n in itertools.count(1) if observe(detector, rng, 0.25) or detector.value >= limit)
    assert needed < 300
    assert detector.change is not None
    assert detector.excess_since is not None
    assert detector.excess_since > 0.15
    detector.restart()
    assert (detector.value, detector.change, detector.excess_since) == (0.0, None, None)


def test_what_is_allowed_raises_no_alarm():
    rng, limit = np.random.default_rng(2), threshold(2000, 0.05)
    tripped = 0
    for _ in range(60):
        detector = Overconfidence()
        for _ in range(2000):
            observe(detector, rng, 0.05)
            if detector.value >= limit:
                tripped += 1
                break
    assert tripped <= 7  # 5 % of 60 are 3


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1), st.floats(0.01, 1)), max_size=60), st.floats(0, 0.4))
def test_wealth_is_never_negative_and_the_record_can_be_stored(rows, margin):
    detector = Overconfidence()
    for agrees, confidence, weight in rows:
        detector.observe(agrees, confidence, weight, margin, HERE)
    assert all(value >= 0 and math.isfinite(value) for value in (*detector.sums, *detector.cusums))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(detector), type=Overconfidence) == detector


def test_expected_agreement_is_the_mean_of_confidence():
    expected = Expected()
    assert expected.overall() is None
    assert expected.of("a") is None
    for confidence in (0.5, 0.7):
        expected.add("a", confidence)
    expected.add("b", 0.9)
    assert expected.of("a") == pytest.approx(0.6)
    assert expected.overall() == pytest.approx(0.7)
    for _ in range(10_000):
        expected.add("a", 1.0)
    assert expected.of("a", lately=True) == 1.0
    assert expected.of("b", lately=True) is None
    assert expected.overall(lately=True) == 1.0
    assert expected.overall() < 1.0
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(expected), type=Expected) == expected
