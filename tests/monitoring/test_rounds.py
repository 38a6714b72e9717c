"""Have the answers changed? The test is exact: held against enumeration, and against streams without a change."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from monitoring.statistics.rounds import WINDOWS, latest_shift, shift_p

TABLES = st.tuples(st.integers(2, 5), st.integers(1, 3)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.sampled_from([0.0, 1.0, math.nan]))
)


def by_enumeration(table, window: int) -> float:
    """Every order of each example's answers is as likely as any other; where none is missing stays as it is."""
    seen = np.nansum(table[-window:])
    chances = {0: 1.0}
    for column in table.T:
        there = np.flatnonzero(~np.isnan(column))
        sums: dict[int, float] = {}
        orders = list(itertools.permutations(column[there]))
        for order in orders:
            inside = int(sum(value for at, value in zip(there, order, strict=True) if at >= len(column) - window))
            sums[inside] = sums.get(inside, 0.0) + 1 / len(orders)
        combined: dict[int, float] = {}
        for (a, p), (b, q) in itertools.product(chances.items(), sums.items()):
            combined[a + b] = combined.get(a + b, 0.0) + p * q
        chances = combined
    return sum(p for total, p in chances.items() if total >= seen)


@given(TABLES, st.integers(1, 2))
def test_the_p_value_is_the_share_of_orders_that_are_as_extreme(table, window):
    assert shift_p(table, window) == pytest.approx(by_enumeration(table, window), abs=1e-9)


@given(TABLES)
def test_it_is_a_probability(table):
    assert 0 <= shift_p(table, 1) <= 1


def test_with_two_rounds_it_is_mcnemars_exact_test():
    table = np.array([[0.0] * 7 + [1.0] * 1 + [1.0], [1.0] * 7 + [0.0] * 1 + [1.0]])
    assert shift_p(table, 1) == pytest.approx(sum(math.comb(8, k) for k in (7, 8)) / 2**8)


def noisy_rounds(rng, rounds: int, differs) -> np.ndarray:
    found: np.ndarray = (rng.random((rounds, len(differs))) < differs).astype(float)
    return found


def first_alarm(table, alpha: float, margin: float = 0.01) -> int:
    """The number of later rounds after which a change is called; 0: never."""
    for count in range(2, len(table) + 1):
        shift = latest_shift(table[:count], count - 1, alpha)
        if shift is not None and shift.is_change(margin):
            return count
    return 0


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.5])
def test_a_teacher_that_is_noisy_and_does_not_change_is_not_called_changed(noise):
    rng = np.random.default_rng(7)
    streams = 60
    alarms = 0
    for _ in range(streams):
        differs = np.where(rng.random(60) < 0.5, rng.random(60) * 2 * noise, 0.0)
        alarms += first_alarm(noisy_rounds(rng, 20, differs), alpha=0.05) > 0
    assert alarms <= 5, "at most 1 in 20 is promised, and the union bound leaves room"


def test_a_teacher_that_never_wavered_is_seen_at_once():
    table = np.zeros((15, 200))
    table[10:, :8] = 1.0
    assert first_alarm(table, 0.01) == 11


def test_a_small_change_of_a_noisy_teacher_takes_some_rounds():
    rng = np.random.default_rng(3)
    differs = np.full(200, 0.1)
    table = np.vstack([noisy_rounds(rng, 12, differs), noisy_rounds(rng, 12, differs + 0.08)])
    assert 12 < first_alarm(table, 0.01) <= 22


def test_one_answer_of_hundreds_is_no_change_that_matters():
    table = np.zeros((40, 200))
    table[20:, 0] = 1.0
    assert first_alarm(table, 0.01) == 0
    assert first_alarm(table, 0.01, margin=0.001) > 0, "though it is no chance either"


def test_nothing_is_said_with_one_later_round_or_without_answers():
    assert latest_shift(np.zeros((1, 5)), 1, 0.05) is None
    assert latest_shift(np.full((4, 5), np.nan), 1, 0.05) is None
    assert WINDOWS[0] == 1
