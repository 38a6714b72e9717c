"""What a volume of traffic can show: the simulated delays are those of the product's own detectors."""

from __future__ import annotations

import math

import numpy as np
import pytest

from core.settings import TaskSettings, TeacherSettings
from monitoring.power import Power, Volume, half_width, power_of
from monitoring.rules import rules_of
from monitoring.statistics.confidence import confidence_sequence
from monitoring.statistics.delay import delay_from_baseline, delay_from_level
from monitoring.statistics.detector import Detector, Mark, bets_beyond
from monitoring.statistics.level import Level
from monitoring.statistics.weights import WeightedMean

_MARK = Mark(1, "ex", 0.0)


def _volume(queries: float = 100_000, compared: float = 0.05, classes: int = 77) -> Volume:
    return Volume(queries, compared, classes, agreement=0.93, validated=30, call_usd=0.001)


def _task(classes: int = 77) -> TaskSettings:
    labels = [f"label {number}" for number in range(classes)]
    return TaskSettings(labels=labels, teacher=TeacherSettings(base_url="http://127.0.0.1:1/v1", model="teacher"))


@pytest.fixture(scope="module")
def found() -> Power:
    return power_of(_volume(), rules_of(_task()))


def _delays(detector: Detector, level: Level | None, baseline: float, agreement: float, limit: float) -> list[int]:
    """Delays of forty streams through the product's own classes."""
    found = []
    for seed in range(40):
        one, learnt = Detector(detector.bets), None if level is None else Level(counts=dict(level.counts))
        rng = np.random.default_rng(1000 + seed)
        for number in range(1, 5000):
            agrees = bool(rng.random() < agreement)
            expected = baseline if learnt is None else learnt.expected("a")
            one.observe(agrees, 1.0, expected, _MARK)
            if learnt is not None:
                learnt.learn("a", agrees, 1.0, number)
            if one.value >= limit:
                found.append(number)
                break
    return sorted(found)


def test_a_learnt_level_is_left_as_fast_as_the_simulation_says() -> None:
    limit, margin = 4e6, 0.01
    level = Level(counts={0: (350.0, 5000.0)})
    real = _delays(Detector(bets_beyond(margin)), level, 0.0, 0.83, limit)
    said = delay_from_level(5000, 0.93, 0.10, limit, 5000, margin=margin)
    assert said.median == pytest.approx(np.median(real), rel=0.12)
    assert said.most == pytest.approx(np.quantile(real, 0.9), rel=0.2)


def test_a_fixed_baseline_is_left_as_fast_as_the_simulation_says() -> None:
    real = _delays(Detector(), None, 0.8, 0.5, 2.4e7)
    said = delay_from_baseline(0.8, 0.5, 2.4e7, 5000)
    assert said.median == pytest.approx(np.median(real), rel=0.12)


def test_what_is_no_drop_is_never_seen() -> None:
    assert math.isinf(delay_from_baseline(0.75, 0.80, 2.4e7, 2000).median)


def test_the_width_is_that_of_the_interval() -> None:
    mean = WeightedMean()
    for number in range(1000):
        mean.add(number % 10 != 0, 1.0)
    interval = confidence_sequence(mean, 0.05)
    assert interval is not None
    assert half_width(1000, 0.9, 0.05) == pytest.approx((interval.upper - interval.lower) / 2, rel=1e-6)
    assert half_width(0, 0.9, 0.05) == 0.5


def test_seventy_seven_classes_have_sixty_five_comparisons_a_month(found: Power) -> None:
    month = found.precision[1]
    assert month.comparisons == pytest.approx(5000)
    assert month.class_comparisons == pytest.approx(65, abs=0.5)
    assert month.of_a_class > 0.1  # a class table at this volume says next to nothing
    assert month.overall < 0.02


def test_more_comparisons_cost_more_and_see_sooner(found: Power) -> None:
    offers = found.offers
    assert [offer.compared for offer in offers] == sorted(offer.compared for offer in offers)
    assert offers[-1].usd_per_month == pytest.approx(100.0)
    days = [offer.overall_days for offer in offers]
    assert days == sorted(days, reverse=True)


def test_smaller_drops_take_longer(found: Power) -> None:
    for sights in (found.overall, found.classes):
        assert [sight.days for sight in sights] == sorted((sight.days for sight in sights), reverse=True)
        assert all(sight.days <= sight.most_days for sight in sights)
