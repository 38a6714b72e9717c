from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.records import Comparison, Outcome
from monitoring.noise_ceiling import NoiseCeiling, attainable
from monitoring.rules import rules_of
from monitoring.state import TaskState
from tests.support.monitoring_world import LABELS, World, task_settings, trust_rows

RULES = rules_of(task_settings())


def repeated(world: World, same: bool, probability: float = 0.1, outcome: Outcome = Outcome.ANSWERED) -> Comparison:
    comparison = world.pair(drawn=True)[1]
    assert comparison is not None
    label = comparison.teacher_label if same else "something else"
    return msgspec.structs.replace(
        comparison,
        probability=probability,
        again=outcome,
        again_probability=0.5,
        teacher_again=label if outcome is Outcome.ANSWERED else None,
    )


def test_it_weighs_by_both_draws(world):
    """Half of the inputs are sampled ten times as often; on those the teacher agrees with itself half of the time."""
    ceiling, rng = NoiseCeiling(), np.random.default_rng(1)
    for _ in range(6000):
        unsure = rng.random() < 0.5
        if rng.random() < (0.5 if unsure else 0.05):
            same = not unsure or rng.random() < 0.5
            ceiling.add(repeated(world, same, 0.5 if unsure else 0.05), RULES)
    assert ceiling.mean.estimate == pytest.approx(0.75, abs=0.05)
    assert ceiling.outcomes == {"answered": ceiling.mean.count}
    assert set(ceiling.classes) <= set(LABELS)
    assert sum(counts.asked for counts in ceiling.classes.values()) == ceiling.mean.count


def test_what_brought_no_label_is_missing_and_counted(world):
    ceiling = NoiseCeiling()
    ceiling.add(repeated(world, same=True), RULES)
    ceiling.add(repeated(world, same=True, outcome=Outcome.TIMED_OUT), RULES)
    comparison = world.pair(drawn=True)[1]
    assert comparison is not None
    ceiling.add(comparison, RULES)
    assert (ceiling.mean.count, ceiling.mean.estimate) == (1, 1.0)
    assert ceiling.outcomes == {"answered": 1, "timed_out": 1}


def test_the_state_takes_it_once_and_not_from_bursts(world):
    state = TaskState("desk")
    state.begin("1", RULES, {row.label: row for row in trust_rows()})
    comparison = msgspec.structs.replace(repeated(world, same=True), cluster="same words")
    for _ in range(2):
        state.observe(comparison, RULES)
    state.observe(msgspec.structs.replace(comparison, exchange="ex_another"), RULES)
    assert state.ceiling.mean.count == 1
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=TaskState) == state


@given(st.lists(st.lists(st.floats(0.01, 1), min_size=2, max_size=6), min_size=1, max_size=8))
def test_no_student_agrees_more_often_than_the_root_of_the_ceiling(inputs):
    """Whatever the teacher's distributions: its likeliest label against its agreement with itself."""
    spreads = [np.array(weights) / sum(weights) for weights in inputs]
    ceiling = float(np.mean([np.sum(spread**2) for spread in spreads]))
    best = float(np.mean([spread.max() for spread in spreads]))
    assert best <= attainable(ceiling) + 1e-12
    assert best >= ceiling - 1e-12, "the ceiling itself is no bound"


def test_a_teacher_of_one_mind_bounds_nothing():
    assert attainable(1.0) == 1.0
    assert attainable(0.81) == pytest.approx(0.9)
    assert math.isclose(attainable(1.2), 1.0)
