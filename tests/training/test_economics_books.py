"""The arithmetic of the books."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from training.economics import Books, bill_of, break_even, least_queries, simple_break_even

PLAIN = Books(
    queries=1_000_000,
    teacher_usd=0.00325,
    student_usd=0.000195,
    fallback=0.0,
    shadow=0.0,
    repeat=0.0,
    hosting_usd=0.0,
    golden_usd=0.0,
    retraining_usd=0.0,
    retraining_months=math.inf,
    distillation_usd=30.55,
)

shares = st.floats(0, 1)
dollars = st.just(0.0) | st.floats(1e-6, 1e4)
prices = st.just(0.0) | st.floats(1e-9, 1)
books = st.builds(
    Books,
    queries=st.floats(1, 1e9),
    teacher_usd=prices,
    student_usd=prices,
    fallback=shares,
    shadow=shares,
    repeat=shares,
    hosting_usd=dollars,
    golden_usd=dollars,
    retraining_usd=dollars,
    retraining_months=st.floats(0.01, 100),
    distillation_usd=dollars,
)


def rounding(case: Books) -> float:
    """What a saving may be wrong by: it is a small difference of large sums."""
    return 1e-9 * (bill_of(case).teacher_alone + bill_of(case).together + 1)


def test_with_nothing_left_out_of_it_the_whole_formula_is_the_simple_one():
    assert break_even(PLAIN) == simple_break_even(PLAIN)
    assert break_even(PLAIN).saving_usd == pytest.approx(3055)
    assert break_even(PLAIN).queries == pytest.approx(10_000)
    assert break_even(PLAIN).months == pytest.approx(0.01)


def test_item_by_item():
    full = replace(
        PLAIN,
        fallback=0.2,
        shadow=0.05,
        repeat=0.02,
        hosting_usd=40,
        golden_usd=20,
        retraining_usd=12,
        retraining_months=2,
    )
    bill = bill_of(full)
    assert bill.teacher_alone == pytest.approx(3250)
    assert bill.student == pytest.approx(195)
    assert bill.fallback == pytest.approx(0.2 * 3250)
    assert bill.shadow == pytest.approx(0.8 * 0.05 * 3250)
    assert bill.repeats == pytest.approx(0.02 * (0.2 + 0.04) * 3250)
    assert (bill.hosting, bill.golden, bill.retraining) == (40, 20, 6)
    assert full.teacher_calls == pytest.approx(0.2448)
    assert bill.saving == pytest.approx(break_even(full).saving_usd)


@given(books)
def test_the_bill_and_the_formula_agree(case):
    assert bill_of(case).saving == pytest.approx(break_even(case).saving_usd, abs=rounding(case))


@given(books, st.sampled_from([field.name for field in fields(Books)]), st.floats(1.0, 10.0))
def test_it_is_monotone(case, name, factor):
    """A dearer teacher, more volume and rarer retrainings bring the day nearer; all else puts it off."""
    more = getattr(case, name) * factor
    if name in ("fallback", "shadow", "repeat"):
        more = min(more, 1.0)
    changed = replace(case, **{name: more})
    assume(all(abs(break_even(one).saving_usd) > rounding(one) for one in (case, changed)))
    before, after = break_even(case).months, break_even(changed).months
    if name in ("queries", "teacher_usd", "retraining_months"):
        assert after <= before * (1 + 1e-9)
    else:
        assert after >= before * (1 - 1e-9)


@given(books)
def test_the_whole_formula_never_promises_more_than_the_simple_one(case):
    assert break_even(case).saving_usd <= simple_break_even(case).saving_usd + rounding(case)


@given(books)
def test_what_saves_nothing_never_breaks_even(case):
    point = break_even(case)
    assert math.isinf(point.months) == (point.saving_usd <= 0)
    assert math.isinf(point.queries) == (point.saving_usd <= 0)


@given(books, st.floats(0.1, 120))
def test_at_the_least_volume_it_pays_just_in_time(case, months):
    least = least_queries(case, months)
    if math.isinf(least):
        assert case.margin_usd <= 0
    elif least > 0:
        point = break_even(replace(case, queries=least * 1.0001))
        assert point.months <= months * 1.001
        assert break_even(replace(case, queries=least * 0.9)).months > months * 0.999 or case.distillation_usd == 0


@given(books, st.floats(1.001, 1e4))
def test_units(case, rate):
    """In another currency everything costs more, and nothing comes sooner or later."""
    money = [field.name for field in fields(Books) if field.name.endswith("_usd")]
    other = replace(case, **{name: getattr(case, name) * rate for name in money})
    saving = break_even(case).saving_usd
    assert break_even(other).saving_usd == pytest.approx(saving * rate, rel=1e-6, abs=1e-6 * rate * (1 + abs(saving)))
    if saving > 1e-3 * bill_of(case).teacher_alone:  # beyond what rounding may turn
        assert break_even(other).months == pytest.approx(break_even(case).months, rel=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [
        {"queries": -1},
        {"teacher_usd": math.nan},
        {"fallback": 1.01},
        {"shadow": -0.1},
        {"retraining_months": 0},
    ],
)
def test_what_is_no_number_of_this_kind_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        replace(PLAIN, **wrong)
