"""The level that a detector learns: what it expects, in which cells, and what it goes back to."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.statistics.detector import BETS, Detector, Mark, bets_beyond, threshold
from monitoring.statistics.level import MOST_STRATA, Level, strata_of

HORIZON, ALPHA = 2_000, 0.05


def watch(stream, level: Level, limit: float = float("inf")) -> tuple[int, Detector]:
    """Number of the comparison at which a detector of unit weights trips (0: never)."""
    detector = Detector()
    for number, (label, agrees) in enumerate(stream, 1):
        detector.observe(agrees, 1.0, level.expected(label), Mark(number, f"ex_{number}", float(number)))
        level.learn(label, agrees, 1.0, number)
        if detector.value >= limit:
            return number, detector
    return 0, detector


@given(st.lists(st.booleans(), max_size=60))
def test_it_expects_what_jeffreys_prior_expects(outcomes):
    level, bad = Level(), 0
    for number, agrees in enumerate(outcomes, 1):
        assert level.expected("any") == pytest.approx(1 - (bad + 0.5) / number)
        level.learn("any", agrees, 1.0, number)
        bad += not agrees


@pytest.mark.parametrize("length", [1, 6, 9])
def test_a_bet_is_fair_over_the_prior(length):
    """Over all streams of one length, weighed with the chance that the prior gives them, M has the mean `length`."""
    total = 0.0
    for outcomes in np.ndindex(*(2,) * length):
        level, chance = Level(), 1.0
        for number, agrees in enumerate(outcomes, 1):
            expected = level.expected("any")
            chance *= expected if agrees else 1 - expected
            level.learn("any", agrees, 1.0, number)
        _, detector = watch([("any", bool(agrees)) for agrees in outcomes], Level())
        total += chance * detector.value
    assert total == pytest.approx(length)


def test_weights_make_it_speak_of_all_exchanges():
    """Half of them agree less, and are sampled five times as often."""
    rng, level = np.random.default_rng(1), Level({"a": 1, "b": 2})
    for number, unsure in enumerate(rng.random(30_000) < 5 / 6, 1):
        level.learn("a", float(rng.random() < (0.7 if unsure else 0.99)), 0.2 if unsure else 1.0, number)
    assert level.expected("a") == pytest.approx((0.7 + 0.99) / 2, abs=0.01)
    assert level.expected("b") == level.expected("not in any stratum") == 0.5


@pytest.mark.parametrize("rate", [0.01, 0.07, 0.3])
def test_false_alarms_are_rare_at_any_rate_that_it_has_to_learn(rate):
    rng, alarms = np.random.default_rng(7), 0
    for _ in range(40):
        stream = [("any", bool(agrees)) for agrees in rng.random(HORIZON) >= rate]
        alarms += watch(stream, Level(), threshold(HORIZON, ALPHA))[0] > 0
    assert alarms <= 6


def test_a_drop_is_seen_nearly_as_soon_as_if_the_level_were_known():
    rng, delays = np.random.default_rng(3), []
    for _ in range(20):
        agrees = np.concatenate([rng.random(3_000) < 0.93, rng.random(1_500) < 0.83])
        at, _ = watch([("any", bool(one)) for one in agrees], Level(), threshold(20_000, 0.01))
        delays.append(at - 3_000)
    assert min(delays) > 0
    assert np.mean(delays) < 260


def test_strata_make_a_changing_mix_no_change():
    rng, level = np.random.default_rng(4), Level({"good": 1, "bad": 2})
    stream = []
    for number in range(6_000):
        label = "bad" if rng.random() < (0.1 if number < 3_000 else 0.4) else "good"
        stream.append((label, bool(rng.random() < (0.99 if label == "good" else 0.7))))
    limit = threshold(20_000, 0.01)
    assert watch(stream, level, limit)[0] == 0
    assert watch(stream, Level(), limit)[0] > 3_000


def test_it_goes_back_to_before_the_change_and_learns_nothing_while_held():
    level = Level()
    for number in range(1, 5_001):
        level.learn("any", number % 10 > 0, 1.0, number)
    before = level.expected("any")
    for number in range(5_001, 6_001):
        level.learn("any", 0.0, 1.0, number)
    assert level.expected("any") < 0.8
    level.hold(5_001)
    assert level.expected("any") == pytest.approx(before, abs=0.002)
    held = msgspec.structs.asdict(level)
    level.learn("any", 0.0, 1.0, 6_001)
    level.hold(3)
    assert msgspec.structs.asdict(level) == held
    level.held = False
    learnt = level.expected("any")
    level.learn("any", 0.0, 1.0, 6_002)
    assert level.expected("any") < learnt


@given(st.integers(1, 400_000))
def test_checkpoints_are_few_and_near(at):
    level = Level()
    for number in range(250, 400_001, 250):
        level.learn("any", 1.0, 1.0, number)
    numbers = [one.number for one in level.kept]
    assert len(numbers) <= 16
    level.hold(at)
    last = level.kept[-1].number if level.kept else 0
    assert last <= at < last + max(level.every, 250) + 1 or at > numbers[-1]
    assert at - last <= 400_000 / 7


def test_it_goes_on_from_its_record():
    level = Level({"a": 1})
    for number in range(1, 600):
        level.learn("a", number % 7 > 0, 0.3, number)
    level.hold(400)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(level), type=Level) == level


@given(
    st.dictionaries(
        st.text(max_size=3),
        st.tuples(st.integers(0, 200).map(float), st.integers(0, 100).map(lambda hundredths: hundredths / 100)),
        min_size=9,
        max_size=60,
    )
)
def test_strata_are_few_and_ordered_by_agreement(validated):
    strata = strata_of(validated, validated)
    assert set(strata) == {label for label, (examples, _) in validated.items() if examples > 0}
    assert set(strata.values()) <= set(range(1, MOST_STRATA + 1))
    many = {label: (1e9, agreement) for label, (_, agreement) in validated.items()}
    strata = strata_of(many, many)
    ordered = sorted(many, key=lambda label: (many[label][1], label))
    assert [strata[label] for label in ordered] == sorted(strata.values())


def test_few_classes_are_a_stratum_each_and_unvalidated_ones_of_many_are_left_together():
    assert strata_of(["b", "a"], {}) == {"a": 1, "b": 2}
    assert strata_of([str(i) for i in range(9)], {}) == {}
    assert set(strata_of([str(i) for i in range(9)], {str(i): (10.0, 0.9) for i in range(9)}).values()) == {1}


@pytest.mark.parametrize(
    ("margin", "bets"), [(0.0, BETS), (0.01, BETS), (0.05, BETS[2:]), (0.3, (0.6,)), (0.49, (0.9,))]
)
def test_no_bet_is_for_drops_below_the_margin(margin, bets):
    assert bets_beyond(margin) == bets


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=100))
def test_a_score_between_0_and_1_counts_in_part(scores):
    """As much as its expectation were it rounded at random, for one comparison; and nothing breaks."""
    _, detector = watch([("any", score) for score in scores], Level())
    assert 0 <= detector.value < float("inf")
    ends = [Detector(), Detector(), Detector()]
    for one, score in zip(ends, (0.0, 1.0, scores[0]), strict=True):
        one.observe(score, 1.0, 0.9, Mark(1, "ex_1", 1.0))
    none, full, part = (one.value for one in ends)
    assert part == pytest.approx((1 - scores[0]) * none + scores[0] * full)
