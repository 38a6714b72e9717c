"""The e-detector: rare false alarms, small delays, and where the change lies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.statistics.baseline import Baseline, chernoff_lower, shrunk
from monitoring.statistics.bursts import Recent
from monitoring.statistics.detector import BETS, Detector, Mark, threshold
from monitoring.statistics.weights import Scale, WeightedMean

HORIZON, ALPHA = 5_000, 0.05


def mark(number: int) -> Mark:
    return Mark(number, f"ex_{number}", float(number))


def first_alarm(stream, limit: float, baseline: float = 0.93) -> tuple[int, Detector]:
    """Number of the comparison at which the detector trips (0: never)."""
    detector = Detector()
    for number, (agrees, weight) in enumerate(stream, 1):
        detector.observe(agrees, weight, baseline, mark(number))
        if detector.value >= limit:
            return number, detector
    return 0, detector


@given(st.floats(0.01, 1.0), st.floats(0.0, 1.0))
def test_no_bet_wins_while_agreement_is_at_its_baseline(weight, baseline):
    """The factor's mean is 1: it is what everything else rests on."""
    m = min(baseline, 0.995)
    for bet in BETS:
        mean = m * (1 - bet * weight) + (1 - m) * (1 + bet * weight * m / (1 - m))
        assert mean == pytest.approx(1.0)
        assert 1 - bet * weight > 0


@given(st.lists(st.tuples(st.booleans(), st.floats(0.01, 1.0)), min_size=1, max_size=200))
def test_it_stays_finite_and_positive(stream):
    _, detector = first_alarm(stream, float("inf"))
    assert 0 <= detector.value < float("inf")
    change = detector.change
    assert change is None or 1 <= change.number <= len(stream)


@given(st.lists(st.booleans(), min_size=1, max_size=200), st.integers(1, 199))
def test_it_goes_on_from_its_record_as_if_it_had_never_stopped(stream, cut):
    import msgspec

    straight = Detector()
    for number, agrees in enumerate(stream):
        straight.observe(agrees, 1.0, 0.9, mark(number))
    resumed = Detector()
    for number, agrees in enumerate(stream):
        if number == cut:
            resumed = msgspec.msgpack.decode(msgspec.msgpack.encode(resumed), type=Detector)
        resumed.observe(agrees, 1.0, 0.9, mark(number))
    assert resumed == straight


def test_false_alarms_are_as_rare_as_promised():
    """120 streams of 1,500 at the baseline, where the promise is weakest; the horizon is the streams' length."""
    rng = np.random.default_rng(3)
    alarms = sum(
        first_alarm(((a, 1.0) for a in rng.random(1_500) < 0.93), threshold(1_500, ALPHA))[0] > 0 for _ in range(120)
    )
    assert alarms <= 10


def test_weights_keep_the_promise():
    """Half of the exchanges agree less and are sampled five times as often."""
    rng = np.random.default_rng(5)
    truth, alarms = 0.5 * 0.7 + 0.5 * 0.99, 0
    for _ in range(60):
        scale = Scale(0.1)
        stream = [
            (bool(rng.random() < (0.7 if unsure else 0.99)), scale.weigh(0.5 if unsure else 0.1))
            for unsure in rng.random(1_500) < 5 / 6
        ]
        alarms += first_alarm(stream, threshold(sum(w for _, w in stream), ALPHA), truth)[0] > 0
    assert alarms <= 6


@pytest.mark.parametrize(("agreement", "most"), [(0.83, 260), (0.6, 60)])
def test_a_drop_is_seen_soon_and_its_beginning_found(agreement, most):
    rng = np.random.default_rng(9)
    delays, errors = [], []
    for _ in range(25):
        values = np.concatenate([rng.random(1_000) < 0.93, rng.random(2_000) < agreement])
        at, detector = first_alarm(((bool(a), 1.0) for a in values), threshold(20_000, 0.01))
        assert at > 1_000
        change = detector.change
        assert change is not None
        delays.append(at - 1_000)
        errors.append(abs(change.number - 1_001))
    assert np.mean(delays) < most
    assert np.median(errors) < 40


def test_restarting_forgets_all_but_the_weights():
    detector = Detector()
    for number in range(50):
        detector.observe(False, 0.5, 0.9, mark(number))
    detector.restart()
    assert (detector.value, detector.change) == (0.0, None)
    assert detector.weight == 25.0


@given(st.floats(0.0, 1.0), st.integers(1, 10_000), st.floats(1e-6, 0.2))
def test_chernoffs_bound_lies_below(agreement, examples, alpha):
    bound = chernoff_lower(agreement, examples, alpha)
    assert 0 <= bound <= agreement
    assert chernoff_lower(agreement, 10 * examples, alpha) >= bound - 1e-9


def test_chernoffs_bound_holds():
    rng = np.random.default_rng(1)
    counts = rng.binomial(40, 0.9, 4_000)
    bounds = {k: chernoff_lower(k / 40, 40, 0.05) for k in np.unique(counts)}
    assert np.mean([bounds[k] > 0.9 for k in counts]) <= 0.05
    assert chernoff_lower(1.0, 0, 0.05) == 0.0


def filled(agree: int, disagree: int) -> WeightedMean:
    mean = WeightedMean()
    for i in range(agree + disagree):
        mean.add(i < agree, 1.0)
    return mean


def test_a_baseline_rises_with_the_evidence_and_never_falls():
    baseline, everything = Baseline(), WeightedMean()
    heights = []
    rng = np.random.default_rng(2)
    for agrees in np.concatenate([rng.random(3_000) < 0.93, rng.random(2_000) < 0.5]):
        everything.add(bool(agrees), 1.0)
        baseline.learn(everything, {"refund": everything}, 0.005, 0.01)
        heights.append(baseline.overall)
    assert heights == sorted(heights)
    assert 0.88 < heights[-1] < 0.92
    assert baseline.of("refund") == pytest.approx(baseline.overall, abs=0.01)
    assert baseline.of("never seen") == baseline.overall


def test_a_class_has_a_baseline_of_its_own():
    good, bad, baseline = filled(990, 10), filled(300, 200), Baseline()
    baseline.learn(filled(1290, 210), {"good": good, "bad": bad}, 0.005, 0.01)
    assert baseline.of("bad") < 0.6 < baseline.overall < baseline.of("good") < 0.99
    assert shrunk(good, 0.5) < 0.99


def test_a_mix_that_changes_is_no_change():
    """Each class agrees as ever; the harder one becomes four times as frequent."""
    rng = np.random.default_rng(4)
    baseline, detector, everything = Baseline(), Detector(), WeightedMean()
    classes = {"good": WeightedMean(), "bad": WeightedMean()}
    peak = 0.0
    for number in range(8_000):
        label = "bad" if rng.random() < (0.1 if number < 5_000 else 0.4) else "good"
        agrees = bool(rng.random() < (0.99 if label == "good" else 0.7))
        detector.observe(agrees, 1.0, baseline.of(label), mark(number))
        if number < 5_000:
            everything.add(agrees, 1.0)
            classes[label].add(agrees, 1.0)
            baseline.learn(everything, classes, 0.005, 0.01)
        peak = max(peak, detector.value)
    assert peak < threshold(HORIZON, ALPHA)


def test_bursts_are_seen_and_memory_is_bounded():
    recent = Recent(3)
    assert [recent.seen(word) for word in "aabcadaefgha"] == [
        False, True, False, False, True, False, True, False, False, False, False, False,
    ]  # fmt: skip
    assert len(recent.young | recent.old) <= 6
