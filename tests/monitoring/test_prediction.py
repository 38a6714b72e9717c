"""Predicted means: cells hold all that there is to know, and the interval keeps its promise whatever is predicted."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.statistics.confidence import confidence_sequence
from monitoring.statistics.prediction import (
    BINS,
    LEVELS,
    Part,
    PredictedMean,
    Predictor,
    bin_of,
    level_of,
    pack,
    root_power,
    scale_of,
    steps_of,
    unpack,
)
from monitoring.statistics.prediction_interval import log_wealth, predicted_sequence, worst_case
from monitoring.statistics.weights import WeightedMean

BETS = np.geomspace(0.005, 0.95, 16)
ON_DRAWN = np.geomspace(1e-3, 0.95, 20)

exchange = st.tuples(
    st.integers(0, len(LEVELS) - 1),
    st.floats(0.02, 1.0),  # p
    st.sampled_from([Part.UNDRAWN, Part.AGREED, Part.DISAGREED]),
)
streams = st.lists(exchange, min_size=1, max_size=50)
SCALE = scale_of(0.02)


def mean_of(stream) -> PredictedMean:
    mean = PredictedMean()
    for level, probability, part in stream:
        put(mean, level, probability, part)
    return mean


def put(mean: PredictedMean, level: int, probability: float, part: Part, scale: int = SCALE) -> None:
    if part in (Part.UNDRAWN, Part.SET_ASIDE):
        mean.add(pack(part, scale, level))
        return
    weight = root_power(scale) / probability
    for step, share in steps_of(weight):
        mean.add(pack(part, scale, level, step), share)
    if part is Part.MISSING:
        mean.missing += 1
    else:
        mean.compared += 1
        mean.weight += weight


def payoffs(stream) -> list[tuple[float, float]]:
    """f and f X of each exchange, directly."""
    factor, rows = root_power(SCALE), []
    for level, probability, part in stream:
        g = LEVELS[level]
        correction = 0.0 if part is Part.UNDRAWN else ((part is Part.AGREED) - g) / probability
        rows.append((factor, factor * (g + correction)))
    return rows


@given(st.sampled_from(Part), st.integers(0, 40), st.integers(0, len(LEVELS) - 1), st.integers(0, 63))
def test_a_cell_has_a_number_of_its_own(part, scale, level, step):
    assert unpack(pack(part, scale, level, step)) == (part, scale, level, step)


@given(st.floats(1e-6, 1.0))
def test_the_factor_is_the_largest_below_the_probability(probability):
    scale = scale_of(probability)
    assert root_power(scale) <= probability
    assert scale == 0 or root_power(scale - 1) > probability


@given(st.floats(1e-6, 1.0))
def test_a_weight_is_kept_in_the_mean(weight):
    parts = list(steps_of(weight))
    assert sum(share for _, share in parts) == pytest.approx(1)
    assert sum(share * root_power(step) for step, share in parts) == pytest.approx(weight)
    assert sum(share * root_power(step) ** 2 for step, share in parts) <= 1.0304 * weight**2


@given(st.floats(0.0, 1.0))
def test_the_level_is_the_nearest(prediction):
    assert abs(LEVELS[level_of(prediction)] - prediction) <= min(abs(one - prediction) for one in LEVELS) + 1e-12


@given(streams)
def test_the_estimate_is_that_of_the_exchanges_themselves(stream):
    mean = mean_of(stream)
    if not mean.compared:
        assert mean.estimate is None
        return
    rows = payoffs(stream)
    direct = sum(x for _, x in rows) / sum(f for f, _ in rows)
    assert mean.estimate == pytest.approx(min(max(direct, 0.0), 1.0), abs=1e-9)


@given(streams, st.floats(0.01, 0.99))
def test_wealth_is_that_of_the_exchanges_or_a_little_less(stream, m):
    """The lower side against a direct sum over exchanges: never more, and hardly less."""
    direct = [sum(math.log1p(bet * (x - f * m)) for f, x in payoffs(stream)) for bet in BETS]
    factor = root_power(SCALE)
    drawn = [(factor / p, part is Part.AGREED) for _, p, part in stream if part is not Part.UNDRAWN]
    plain = [sum(math.log1p(c * w * (a / m - 1)) for w, a in drawn) for c in ON_DRAWN]
    exact = np.logaddexp(
        np.logaddexp.reduce(direct) + math.log(0.75 / len(BETS)),
        np.logaddexp.reduce(plain) + math.log(0.25 / len(ON_DRAWN)),
    )
    kept = log_wealth(mean_of(stream), m, above=True)
    assert kept <= exact + 1e-9


@given(streams)
def test_weights_between_no_two_are_exact(stream):
    """At probabilities whose weights are powers of the root of two, nothing at all is lost."""
    stream = [(level, root_power(round(-2 * math.log2(p))), part) for level, p, part in stream]
    stream = [(level, max(p, root_power(SCALE)), part) for level, p, part in stream]
    m = 0.8
    direct = np.logaddexp.reduce([sum(math.log1p(bet * (x - f * m)) for f, x in payoffs(stream)) for bet in BETS])
    kept = log_wealth(mean_of(stream), m, above=True)
    assert kept >= direct + math.log(0.75 / len(BETS)) - 1e-9


@given(streams, st.floats(0.02, 0.9), st.floats(0.02, 0.08))
def test_wealth_falls_with_the_mean_it_is_bet_against(stream, m, more):
    mean = mean_of(stream)
    assert log_wealth(mean, m, above=True) >= log_wealth(mean, m + more, above=True) - 1e-9
    assert log_wealth(mean, m, above=False) <= log_wealth(mean, m + more, above=False) + 1e-9


@settings(max_examples=30)
@given(streams, st.floats(0.001, 0.2))
def test_the_interval_is_between_0_and_1_and_grows_with_certainty(stream, alpha):
    mean = mean_of(stream)
    interval, surer = predicted_sequence(mean, alpha), predicted_sequence(mean, alpha / 2)
    if interval is None or surer is None:
        assert not mean.compared
        return
    assert 0 <= surer.lower <= interval.lower <= interval.estimate <= interval.upper <= surer.upper <= 1


@settings(max_examples=30)
@given(streams, st.lists(st.tuples(st.integers(0, 15), st.floats(0.02, 1.0)), max_size=20))
def test_what_is_missing_only_widens_the_worst_case(stream, missing):
    mean = mean_of(stream)
    before = predicted_sequence(mean, 0.05)
    for level, probability in missing:
        put(mean, level, probability, Part.MISSING)
    assert predicted_sequence(mean, 0.05) == before
    worst = worst_case(mean, 0.05)
    if worst is None or before is None:
        assert not mean.compared
    else:
        assert worst.lower <= before.lower
        assert worst.upper >= before.upper


@given(streams, streams)
def test_means_add_up(first, second):
    merged = mean_of(first)
    merged.merge(mean_of(second))
    together = mean_of(first + second)
    assert merged.cells == pytest.approx(together.cells)
    assert (merged.compared, merged.weight) == (together.compared, pytest.approx(together.weight))


def simulate(rng, exchanges: int, *, useless: bool = False, predictions=None):
    """Sure and unsure exchanges, sampled at 0.05 and 0.25, with agreement 0.87. Yields the means now and then."""
    mean, plain = PredictedMean(), WeightedMean()
    sure = rng.random(exchanges) < 0.7
    agrees = rng.random(exchanges) < np.where(sure, 0.99, 0.59)
    said = rng.permutation(sure) if useless else sure
    p = np.where(said, 0.05, 0.25)
    drawn = rng.random(exchanges) < p
    levels = predictions or ((level_of(0.87),) * 2 if useless else (level_of(0.59), level_of(0.99)))
    for i in range(exchanges):
        part = (Part.AGREED if agrees[i] else Part.DISAGREED) if drawn[i] else Part.UNDRAWN
        put(mean, levels[int(said[i])], float(p[i]), part, scale_of(0.05))
        if drawn[i]:
            plain.add(bool(agrees[i]), 0.05 / float(p[i]))
        if i % 200 == 199:
            yield mean, plain


@pytest.mark.parametrize(
    "predictions", [None, (level_of(0.98), level_of(0.1))], ids=["good predictions", "predictions upside down"]
)
def test_it_covers_the_truth_at_all_times_whatever_is_predicted(predictions):
    rng, missed = np.random.default_rng(3), 0
    for _ in range(60):
        worst = max(
            max(log_wealth(mean, 0.87, above=True), log_wealth(mean, 0.87, above=False))
            for mean, _ in simulate(rng, 4000, predictions=predictions)
        )
        missed += worst >= math.log(2 / 0.05)
    assert missed <= 5


def test_it_is_narrower_with_a_good_confidence_and_not_much_wider_with_a_useless_one():
    for useless, ratio in ((False, 0.85), (True, 1.15)):
        *_, (mean, plain) = simulate(np.random.default_rng(5), 20_000, useless=useless)
        with_it, without = predicted_sequence(mean, 0.05), confidence_sequence(plain, 0.05)
        assert with_it is not None
        assert without is not None
        assert with_it.upper - with_it.lower <= ratio * (without.upper - without.lower)
        assert with_it.lower < 0.87 < with_it.upper


def test_nothing_is_known_without_comparisons():
    assert predicted_sequence(PredictedMean(), 0.05) is None
    assert worst_case(mean_of([(3, 0.5, Part.UNDRAWN)]), 0.05) is None


def test_the_predictor_learns_from_confidence_to_agreement():
    predictor = Predictor()
    first = predictor.levels()
    assert [LEVELS[one] for one in first] == sorted(LEVELS[one] for one in first)
    for position in range(BINS):
        predictor.learn(position, 1400, 600)
    assert {LEVELS[one] for one in predictor.levels()} == {0.7}
    assert max(predictor.counts) < 2000
    assert (bin_of(0.0), bin_of(1.0)) == (0, BINS - 1)
