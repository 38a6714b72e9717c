"""Agreement with predictions: exchanges count in their order, whenever their comparisons come."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.records import Answerer, Comparison, Exchange, Outcome, Reason, StudentAnswer
from monitoring.bands import NAMES, Bands
from monitoring.predicted_agreement import PredictedAgreement
from monitoring.rules import rules_of
from monitoring.state import TaskState
from monitoring.statistics.prediction_interval import predicted_sequence, worst_case
from tests.support.monitoring_world import World, task_settings


def asked(number: int, *, probability=0.25, drawn=False, teacher=False, text=None, at=None, sure=0.97) -> Exchange:
    return Exchange(
        f"ex_{number}",
        "desk",
        0.01 * number if at is None else at,
        Answerer.TEACHER if teacher else Answerer.STUDENT,
        Reason.NOT_TRUSTED if teacher else Reason.CHAMPION,
        200,
        text=text,
        student=StudentAnswer("1", "a", sure, "set"),
        shadow_probability=0.0 if teacher else probability,
        shadow=drawn,
    )


def compared(exchange: Exchange, agrees: bool | None = True) -> Comparison:
    return Comparison(
        "cmp",
        "desk",
        exchange.id,
        exchange.at,
        exchange.at + 1,
        Outcome.REFUSED if agrees is None else Outcome.ANSWERED,
        exchange.shadow_probability or 1.0,
        exchange.answered_by,
        exchange.student or StudentAnswer("1", "a", 0.9, "set"),
        teacher_label={True: "a", False: "b", None: None}[agrees],
    )


def begun() -> PredictedAgreement:
    return PredictedAgreement(200.0, lowest=[0.25])


def stream(seed: int, size: int) -> list[tuple[Exchange, bool | None]]:
    """Exchanges with what the teacher will say of them; one in ten of those drawn is missing."""
    rng, rows = np.random.default_rng(seed), []
    for number in range(size):
        sure = float(rng.uniform(0.4, 1.0))
        teacher = sure < 0.5
        drawn = not teacher and bool(rng.random() < 0.25)
        agrees = bool(rng.random() < sure) if rng.random() < 0.9 else None
        rows.append((asked(number, drawn=drawn, teacher=teacher, sure=sure), agrees))
    return rows


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.randoms(use_true_random=False), st.integers(1, 400))
def test_it_does_not_matter_when_comparisons_come(seed, random, lag):
    """Some come before their exchange, some long after; all is counted as if each had come at once."""
    rows = stream(seed, 300)
    at_once, late, queue = begun(), begun(), []
    for exchange, agrees in rows:
        at_once.see(exchange)
        if exchange.shadow or exchange.answered_by is Answerer.TEACHER:
            at_once.compare(compared(exchange, agrees))
            queue.append((exchange, agrees, random.uniform(-lag / 8, lag)))
    order = [(0.5 + index, exchange, None) for index, (exchange, _) in enumerate(rows)]
    order += [(int(row.id[3:]) + delay, row, compared(row, agrees)) for row, agrees, delay in queue]
    for _, exchange, comparison in sorted(order, key=lambda row: row[0]):
        if comparison is None:
            late.see(exchange)
        else:
            late.compare(comparison)
    assert late.whole.compared == at_once.whole.compared > 0
    assert late.whole.missing == at_once.whole.missing
    # A block that was opened while an older one waited predicts from what it knew then: only levels may differ.
    assert sum(late.whole.cells.values()) == pytest.approx(sum(at_once.whole.cells.values()))
    assert late.uncounted == at_once.uncounted < 64
    assert not late.waiting


def test_what_was_not_drawn_waits_for_what_was_drawn_before_it():
    state, first = begun(), asked(0, drawn=True)
    state.see(first)
    for number in range(1, 200):
        state.see(asked(number))
    assert state.whole.cells == {}
    assert state.uncounted == 200
    state.compare(compared(first))
    assert state.whole.compared == 1
    assert sum(state.whole.cells.values()) == pytest.approx(192)


def test_a_comparison_that_never_comes_is_given_up_on_the_exchanges_clock():
    state = begun()
    state.see(asked(0, drawn=True))
    for number in range(1, 100):
        state.see(asked(number, at=20.0 * number, drawn=number % 4 == 0))
        if number % 4 == 0:
            state.compare(compared(asked(number)))
    assert state.whole.missing == 1
    assert state.whole.compared > 15
    state.compare(compared(asked(0)))  # too late: it changes nothing
    assert state.whole.missing == 1


def test_what_is_missing_takes_its_share_of_the_undrawn_with_it():
    """A teacher that is down: predictions alone are no evidence, and the interval does not narrow on them."""
    state = begun()
    for number in range(640):
        exchange = asked(number, drawn=number % 4 == 0)
        state.see(exchange)
        if exchange.shadow:
            state.compare(compared(exchange, True if number < 320 else None))
    interval, worst = predicted_sequence(state.whole, 0.05), worst_case(state.whole, 0.05)
    half = begun()
    for number in range(321):
        exchange = asked(number, drawn=number % 4 == 0)
        half.see(exchange)
        if exchange.shadow:
            half.compare(compared(exchange))
    assert interval == predicted_sequence(half.whole, 0.05)
    assert interval is not None
    assert worst is not None
    assert worst.lower < 0.6 < interval.lower


def test_waiting_is_bounded():
    state = begun()
    for number in range(12_000):
        state.see(asked(number, drawn=True))
    for number in range(3000):
        state.compare(compared(asked(100_000 + number)))
    assert len(state.waiting) <= 10_000
    assert len(state.early) <= 1000
    assert state.whole.missing >= 1900


def test_repeats_count_once_whether_drawn_or_not():
    state = begun()
    for number in range(128):
        state.see(asked(number, text="again and again" if number % 2 else f"message {number}"))
    assert state.repeats == 63
    hashed = begun()
    hashed.see(msgspec.structs.replace(asked(0), text_hash="x"))
    hashed.see(msgspec.structs.replace(asked(1), text_hash="x"))
    assert hashed.repeats == 1


def test_what_could_not_be_drawn_is_not_spoken_of():
    state = begun()
    state.see(asked(0, probability=0.0))
    state.see(msgspec.structs.replace(asked(1), student=None))
    assert state.uncounted == 0


def test_the_factor_follows_the_probabilities_down():
    state = begun()
    for number in range(64 * 8):
        state.see(asked(number, probability=0.01 if number >= 64 else 0.25, drawn=number % 8 == 0))
        if number % 8 == 0:
            state.compare(compared(asked(number, probability=0.01 if number >= 64 else 0.25)))
    assert state.cut == 1  # the first one: its block ends with it
    assert state.blocks[state.opened].scale > 12


def test_recent_is_what_came_last():
    state = PredictedAgreement(20.0, lowest=[0.25])
    for number in range(64 * 40):
        exchange = asked(number, drawn=number % 4 == 0)
        state.see(exchange)
        if exchange.shadow:
            state.compare(compared(exchange, number < 64 * 20 or number % 8 == 0))
    assert state.whole.estimate == pytest.approx(0.75, abs=0.03)
    assert state.recent.estimate == pytest.approx(0.5, abs=0.05)
    assert state.recent.weight < 60


def test_it_is_stored_and_goes_on():
    rows = stream(1, 400)
    straight, stored = begun(), begun()
    for index, (exchange, agrees) in enumerate(rows):
        for state in (straight, stored):
            state.see(exchange)
            if exchange.shadow or exchange.answered_by is Answerer.TEACHER:
                state.compare(compared(exchange, agrees))
        if index == 200:
            stored = msgspec.msgpack.decode(msgspec.msgpack.encode(stored), type=PredictedAgreement)
    assert stored == straight


def test_it_finds_the_agreement_of_all_exchanges():
    state, rows = begun(), [row for row in stream(5, 12_000) if row[1] is not None]
    for exchange, agrees in rows:
        state.see(exchange)
        if exchange.shadow or exchange.answered_by is Answerer.TEACHER:
            state.compare(compared(exchange, agrees))
    truth = sum(bool(agrees) for _, agrees in rows) / len(rows)
    interval = predicted_sequence(state.whole, 0.05)
    assert interval is not None
    assert interval.lower < truth < interval.upper
    assert interval.estimate == pytest.approx(truth, abs=0.015)


def test_a_task_counts_exchanges_and_comparisons_of_their_version():
    world, rules = World(3), rules_of(task_settings())
    state = TaskState("desk")
    state.begin("1", rules, {})
    world.untrusted = {"c0", "c1"}
    for _ in range(1500):
        exchange, comparison = world.pair()
        state.observe_exchange(exchange, rules)
        if comparison is not None:
            state.observe(comparison, rules)
    predicted, watched = state.versions["1"].predicted, state.versions["1"]
    assert predicted.whole.compared + predicted.uncounted >= watched.number >= predicted.whole.compared > 400
    assert predicted.whole.estimate == pytest.approx(0.93, abs=0.04)
    assert sum(mean.count for mean in watched.bands.means) == watched.number


def test_an_exchange_that_nobody_answered_in_the_end_is_missing():
    state, rules = TaskState("desk"), rules_of(task_settings())
    state.begin("1", rules, {})
    for number in range(80):
        exchange = msgspec.structs.replace(asked(number, teacher=True), answered_by=Answerer.NOBODY)
        state.observe_exchange(exchange, rules)
        state.observe(compared(exchange, None), rules)
    assert state.versions["1"].predicted.whole.missing == 64


def test_bands_are_fixed_and_cover_everything():
    bands = Bands()
    for confidence in (0.0, 0.49, 0.5, 0.95, 0.985, 0.99, 1.0):
        bands.add(confidence, True, 1.0)
    assert dict(zip(NAMES, (mean.count for mean in bands.means), strict=True)) == {
        "0-0.5": 2,
        "0.5-0.7": 1,
        "0.7-0.8": 0,
        "0.8-0.9": 0,
        "0.9-0.95": 0,
        "0.95-0.99": 2,
        "0.99-1": 2,
    }
