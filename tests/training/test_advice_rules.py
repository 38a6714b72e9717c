"""The decision table, line by line."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.statistics.confidence import Interval
from training.advice import RULES, Advice, Drift, Facts, Kind, Privacy, Seen, Tried, decide, most_fallback
from training.economics import Given, assemble

SAID = Given(queries=1_000_000, input_tokens=500, output_tokens=200, teacher="gpt-4o", retraining_months=1)
NOTHING: dict[str, Any] = dict.fromkeys(("fallback", "shadow", "repeat", "golden_usd", "labels", "retraining_usd"), 0.0)


def facts(queries: float = 1_000_000, once_usd: float = 0.0, **changed: Any) -> Facts:
    """A task that should be distilled, but for what is changed."""
    said = replace(SAID, queries=queries, once_usd=once_usd)
    good = Facts(
        kind=Kind.CLASSIFICATION,
        classes=77,
        quality=0.95,
        may_train=True,
        privacy=Privacy.TEACHER,
        latency_ms=0.0,
        drift=Drift.MONTHLY,
        labelled=500,
        tried=Tried.BAD,
        distilled=assemble(said),
        smaller=assemble(replace(said, student="gpt-4o-mini", **NOTHING)),
    )
    return replace(good, **changed)


MANY: dict[str, Any] = {"labelled": 7_700}
UNTRIED: dict[str, Any] = {"tried": Tried.NO}
CEILING = Seen(ceiling=Interval(0.85, 0.83, 0.87))

CASES = [
    ("it pays", Advice.DISTIL, facts()),
    ("data stays in house", Advice.FINE_TUNE, facts(privacy=Privacy.HOUSE)),
    ("data stays in house", Advice.FINE_TUNE, facts(privacy=Privacy.HOUSE, may_train=False, **UNTRIED)),
    ("terms forbid training, labels suffice", Advice.FINE_TUNE, facts(may_train=False, **MANY)),
    ("terms forbid training", Advice.PROMPT, facts(may_train=False, **UNTRIED)),
    ("terms forbid training, nothing instead", Advice.STAY, facts(may_train=False)),
    ("no comparisons, labels suffice", Advice.FINE_TUNE, facts(privacy=Privacy.REQUESTS, **MANY)),
    ("no comparisons", Advice.PROMPT, facts(privacy=Privacy.REQUESTS, **UNTRIED)),
    ("no comparisons, nothing instead", Advice.STAY, facts(privacy=Privacy.REQUESTS)),
    ("open text", Advice.PROMPT, facts(kind=Kind.GENERATION, classes=None, **UNTRIED)),
    ("open text, nothing instead", Advice.STAY, facts(kind=Kind.GENERATION, classes=None)),
    ("open text, nothing instead", Advice.STAY, facts(kind=Kind.GENERATION, classes=None, seen=Seen(repeated=0.89))),
    ("it pays", Advice.DISTIL, facts(kind=Kind.GENERATION, classes=None, seen=Seen(repeated=0.9))),
    ("it pays", Advice.DISTIL, facts(kind=Kind.EXTRACTION)),
    ("beyond the noise ceiling", Advice.PROMPT, facts(seen=CEILING)),
    ("it pays", Advice.DISTIL, facts(seen=CEILING, quality=0.93)),
    ("changes too fast", Advice.PROMPT, facts(queries=110_000, drift=Drift.DAILY, tried=Tried.GOOD)),
    ("changes too fast, nothing instead", Advice.STAY, facts(queries=110_000, drift=Drift.DAILY)),
    ("it pays", Advice.DISTIL, facts(queries=130_000, drift=Drift.DAILY)),
    ("hosted models are too slow, labels suffice", Advice.FINE_TUNE, facts(latency_ms=50, **MANY)),
    ("hosted models are too slow", Advice.DISTIL, facts(latency_ms=50, queries=10_000, **UNTRIED)),
    ("hosted models are too slow", Advice.DISTIL, facts(latency_ms=700, seen=Seen(teacher_ms=800))),
    ("it pays", Advice.DISTIL, facts(latency_ms=700)),
    ("a smaller model is good enough", Advice.PROMPT, facts(tried=Tried.GOOD)),
    ("a smaller model was not tried", Advice.PROMPT, facts(**UNTRIED)),
    ("it pays", Advice.DISTIL, facts(smaller=None, **UNTRIED)),
    ("few queries", Advice.STAY, facts(queries=99_999)),
    ("it pays", Advice.DISTIL, facts(queries=100_000)),
    ("it does not pay in time", Advice.STAY, facts(once_usd=100_000)),
    ("it pays", Advice.DISTIL, facts(once_usd=20_000)),
    ("labels suffice", Advice.FINE_TUNE, facts(**MANY)),
    ("it pays", Advice.DISTIL, facts(labelled=7_699)),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "advice", "case"), CASES, ids=[f"{at} {case[0]}" for at, case in enumerate(CASES)])
def test_the_table(rule, advice, case):
    decision = decide(case)
    assert (decision.ground.rule, decision.advice) == (rule, advice)
    assert decision.ground.source


def test_every_rule_has_a_case():
    assert {case[0] for case in CASES} == {rule.name for rule in RULES}
    assert len({rule.name for rule in RULES}) == len(RULES)


def test_a_smaller_model_that_costs_more_is_none():
    dear = assemble(replace(SAID, student="gpt-4o", student_price=(5.0, 20.0), **NOTHING))
    assert decide(facts(smaller=dear, **UNTRIED)).advice is Advice.DISTIL


def test_reasons_have_the_numbers():
    assert "saves $" in decide(facts()).ground.reason
    few = decide(facts(queries=30_000))
    assert "30,000 queries a month" in few.ground.reason
    assert "$97.50" in few.ground.reason
    assert [ground.rule for ground in few.others] == ["it does not pay in time"]
    assert "93.3%" in decide(facts(seen=CEILING)).ground.reason, "the root of the ceiling's upper limit"


def test_what_would_pay_is_told_beside_what_forbids():
    decision = decide(facts(may_train=False, queries=50_000, **UNTRIED))
    assert [ground.rule for ground in decision.others] == ["a smaller model was not tried", "few queries"]


@given(
    st.builds(
        facts,
        queries=st.floats(1, 1e8),
        kind=st.sampled_from(Kind),
        classes=st.none() | st.integers(2, 400),
        quality=st.floats(0.51, 0.99),
        may_train=st.booleans(),
        privacy=st.sampled_from(Privacy),
        latency_ms=st.floats(0, 5000),
        drift=st.sampled_from(Drift),
        labelled=st.integers(0, 100_000),
        tried=st.sampled_from(Tried),
        seen=st.sampled_from([Seen(), CEILING, Seen(repeated=0.95, teacher_ms=900.0)]),
    )
)
def test_there_is_always_advice_and_what_is_forbidden_is_never_advised(case):
    decision = decide(case)
    if decision.advice is Advice.DISTIL:
        assert case.may_train
        assert case.privacy is Privacy.TEACHER
        assert not case.is_open
    if decision.advice is Advice.PROMPT and decision.ground.rule != "beyond the noise ceiling":
        assert case.smaller_usd > 0


@given(st.floats(0, 0.999), st.floats(0.001, 1))
def test_blind_fallback_reaches_what_is_asked_for(agreement, quality):
    share = most_fallback(agreement, quality)
    assert 0 <= share <= 1
    assert share + (1 - share) * agreement >= quality - 1e-9
