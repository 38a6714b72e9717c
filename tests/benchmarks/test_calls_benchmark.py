"""The benchmark of teacher calls: its ways of sampling are comparable, and its other intervals are what they say."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks._monitoring_calls import allocate
from benchmarks._monitoring_calls_streams import Plain, Predicted, draw
from benchmarks._monitoring_intervals import asymptotic, empirical_bernstein
from benchmarks._monitoring_pairs import made_up


def test_every_way_of_sampling_asks_equally_often_and_keeps_its_floor():
    chances = allocate(made_up())
    rates = {name: float(one.mean()) for name, one in chances.items()}
    assert rates["oracle"] == pytest.approx(rates["uniform"], rel=1e-6)
    assert rates["curve"] == pytest.approx(rates["uniform"])
    assert min(float(one.min()) for one in chances.values()) >= 0.05


def test_a_stream_goes_through_in_parts_as_it_does_at_once():
    pairs = made_up()
    stream = draw(pairs, allocate(pairs)["curve"], 1280, 0)
    for way in (Predicted, Plain):
        once, parts = way(stream), way(stream)
        once.take(1280)
        for at in range(64, 1281, 64):
            parts.take(at)
        assert once.width() == pytest.approx(parts.width())


@pytest.mark.parametrize("interval", ["empirical Bernstein", "asymptotic"])
def test_the_other_intervals_cover_and_narrow(interval):
    pairs = made_up()
    chances = allocate(pairs)["curve"]
    x = draw(pairs, chances, 20_000, 1).x()
    lower, upper = empirical_bernstein(x, 0.05, 0.05) if interval == "empirical Bernstein" else asymptotic(x, 0.05)
    assert np.all((lower <= pairs.agreement) & (pairs.agreement <= upper) | (np.arange(len(x)) < 500))
    assert upper[-1] - lower[-1] < 0.06 < upper[999] - lower[999]
