"""Drift scores: Evidently's numbers, and thresholds that hold without drift."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.drift import _evidently, _numbers, jensen_shannon, psi, score_window
from monitoring.drift_windows import DriftWindows, Features


def rows(rng, count: int, classes: int = 20, shift: float = 0.0) -> list[Features]:
    weights = np.arange(1, classes + 1, dtype=float) ** (1 + shift)
    labels = rng.choice(classes, size=count, p=weights / weights.sum())
    lengths = rng.gamma(4, 12 * (1 + shift), size=count).astype(int)
    return [
        Features(f"c{label}", float(confidence), int(length))
        for label, confidence, length in zip(labels, rng.beta(8, 1 + shift, size=count), lengths, strict=True)
    ]


counts = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=2, max_size=12).filter(
    lambda pairs: sum(a for a, _ in pairs) > 0 and sum(b for _, b in pairs) > 0
)


@given(counts)
def test_distances_are_not_negative_and_zero_for_the_same(pairs):
    before, now = (np.array(side) for side in zip(*pairs, strict=True))
    assert psi(before, now) >= -1e-9
    assert 0 <= jensen_shannon(before, now) <= np.sqrt(np.log(2)) + 1e-9
    assert psi(before, before) == pytest.approx(0)
    assert jensen_shannon(before, before) == pytest.approx(0, abs=1e-7)


def test_the_formulas_are_evidentlys():
    rng = np.random.default_rng(1)
    before, now = rows(rng, 900), rows(rng, 300, shift=0.3)
    scores = _evidently(before, now, dict(_numbers(before, now)))
    labels = sorted({row.label for row in (*before, *now)})
    a, b = (np.array([sum(row.label == label for row in side) for label in labels]) for side in (before, now))
    assert scores["label_psi"] == pytest.approx(psi(a, b))
    assert scores["label_jensen_shannon"] == pytest.approx(jensen_shannon(a, b))
    assert scores["confidence_wasserstein"] > 0


def test_a_window_without_drift_passes_and_one_with_drift_does_not():
    rng = np.random.default_rng(2)
    before = rows(rng, 800)
    calm = score_window(before, rows(rng, 400), 0.01, 1)
    assert all(score.p_value > 0.0025 for score in calm)
    moved = {score.signal: score for score in score_window(before, rows(rng, 400, shift=0.8), 0.01, 1)}
    assert moved["label_psi"].p_value <= 0.0025
    assert moved["label_psi"].score > moved["label_psi"].threshold
    assert moved["length_wasserstein"].p_value <= 0.0025


def test_thresholds_know_the_sizes():
    """With many classes and few exchanges, a PSI far above 0.2 means nothing."""
    rng = np.random.default_rng(3)
    scores = {s.signal: s for s in score_window(rows(rng, 400, 150), rows(rng, 200, 150), 0.01, 1)}
    assert scores["label_psi"].score > 0.2
    assert scores["label_psi"].p_value > 0.0025


def test_without_lengths_the_other_signals_remain():
    rng = np.random.default_rng(4)
    bare = [Features(row.label, row.confidence, None) for row in rows(rng, 300)]
    assert {score.signal for score in score_window(bare[:200], bare[200:], 0.01, 1)} == {
        "label_psi",
        "label_jensen_shannon",
        "confidence_wasserstein",
    }


def test_the_reference_is_frozen_and_a_version_has_its_own():
    windows = DriftWindows()
    for number in range(45):
        windows.add("1", Features("a", number / 100, None), 10)
    assert (len(windows.reference), len(windows.full), len(windows.current)) == (20, 10, 5)
    assert windows.reference[0].confidence == 0.0
    assert windows.skipped == 1
    windows.add("2", Features("a", 0.5, None), 10)
    assert (len(windows.reference), windows.full, windows.current) == (1, [], [])
