"""What ends a canary, and how seldom a good challenger's is ended."""

from __future__ import annotations

import numpy as np
import pytest

from training.canary import ERROR, Seen, Side, objections

NO_TIMES = np.zeros((0, 2))


def _sides(challenger, champion, share=0.05, times=NO_TIMES):
    return Seen(share, Side(*challenger), Side(*champion), times)


def test_nothing_speaks_against_one_that_answers_like_the_champion():
    rng = np.random.default_rng(0)
    seen = _sides((200, 1, 1), (3800, 20, 18), times=rng.gamma(2, 1.0, size=(200, 2)))
    assert objections(seen, 2.0) == []
    assert seen.slowdown == pytest.approx(1.0, abs=0.4)
    assert objections(_sides((0, 0, 0), (0, 0, 0)), 2.0) == []
    assert _sides((0, 0, 0), (0, 0, 0)).slowdown is None


@pytest.mark.parametrize("failed", [(2, 0), (6, 6), (20, 60)])
def test_failures_that_the_champion_does_not_have_end_it(failed):
    own, champion = failed
    (said,) = objections(_sides((100, own, own), (1900, champion, champion)), 2.0)
    assert f"failed {own} of 100 live requests" in said
    assert f"the champion failed {champion} of 1900" in said


def test_one_failure_is_chance_and_one_user_is_one_failure():
    assert objections(_sides((100, 1, 1), (1900, 0, 0)), 2.0) == []
    assert objections(_sides((100, 60, 1), (1900, 0, 0)), 2.0) == []


def test_a_fault_of_both_is_not_the_challengers():
    assert objections(_sides((10, 10, 10), (190, 190, 190)), 2.0) == []


def test_slow_answers_end_it_and_small_differences_do_not():
    champion = np.full(40, 10.0)
    slow = np.column_stack([champion * 3, champion])
    (said,) = objections(_sides((40, 0, 0), (760, 0, 0), times=slow), 2.0)
    assert "30.0 ms for a live request in the median, the champion 10.0 ms" in said
    assert objections(_sides((40, 0, 0), (760, 0, 0), times=slow), 4.0) == []
    tiny = np.column_stack([np.full(40, 4.0), np.full(40, 0.2)])
    assert objections(_sides((40, 0, 0), (760, 0, 0), times=tiny), 2.0) == []


def test_load_that_slows_both_is_nobodys_fault():
    load = np.repeat([1.0, 50.0], 100)
    noise = np.random.default_rng(2).uniform(0.8, 1.2, size=(200, 2))
    assert objections(_sides((200, 0, 0), (3800, 0, 0), times=10 * load[:, None] * noise), 1.5) == []


def test_whoever_looks_after_each_request_is_rarely_wrong():
    """A challenger just like the champion, with 5 % failures and equal times, looked at after every failure."""
    rng, rounds, ended = np.random.default_rng(4), 500, 0
    for _ in range(rounds):
        mine = np.cumsum(rng.random(60) < 0.1)
        times = rng.gamma(3, 10.0, size=(60, 2))
        ended += any(
            objections(_sides((600, int(k), int(k)), (5400, n - int(k), n - int(k)), 0.1, times[:n]), 1.0)
            for n, k in enumerate(mine, start=1)
        )
    assert ended / rounds <= 2 * ERROR + 0.015
