"""What is asked, and what becomes of the answers."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import SettingsError
from core.settings import TaskSettings
from monitoring.statistics.confidence import Interval
from training.advice import (
    QUESTIONS,
    Answers,
    Drift,
    Kind,
    Privacy,
    Seen,
    Tried,
    answered,
    facts_of,
    measured_by,
    missing,
    parse,
    read_answers,
    set_by,
)
from training.economics import Found
from training.economics.accounted import Accounted

ALL = Answers(
    kind=Kind.CLASSIFICATION,
    classes=77,
    queries=1e6,
    input_tokens=500,
    output_tokens=200,
    teacher="gpt-4o",
    quality=0.95,
    may_train=True,
    privacy=Privacy.TEACHER,
    latency_ms=0,
    drift=Drift.WEEKLY,
    labelled=0,
    tried=Tried.NO,
)


def task(**changed) -> TaskSettings:
    teacher = {"base_url": "http://127.0.0.1:9/v1", "model": "gpt-4o", "may_train": True, "data_may_leave": True}
    return TaskSettings.model_validate({"labels": ["a", "b", "c"], "teacher": teacher} | changed)


def test_every_answer_may_stand_in_a_file(tmp_path):
    file = tmp_path / "answers.yaml"
    file.write_text(
        "kind: classification\nclasses: 77\nqueries: 1000000\ninput_tokens: 500\noutput_tokens: 200\nteacher: gpt-4o\n"
        "quality: 0.95\nmay_train: yes\nprivacy: teacher\nlatency_ms: 0\ndrift: weekly\nlabelled: 0\ntried: no\n"
    )
    assert read_answers(file) == ALL
    file.write_text("teacher_price: [2.5, 10]\n")
    assert read_answers(file).teacher_price == (2.5, 10)
    file.write_text("")
    assert read_answers(file) == Answers()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("qualty: 0.9", "did you mean 'quality'"),
        ("quality: 95", "quality"),
        ("drift: often", "drift"),
        ("queries: many", "queries"),
        ("- a", "answers by name"),
        ("a: [", "not valid YAML"),
    ],
)
def test_a_file_that_is_not_understood_says_where(tmp_path, text, said):
    file = tmp_path / "answers.yaml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=said):
        read_answers(file)
    with pytest.raises(SettingsError, match="cannot be read"):
        read_answers(tmp_path / "none.yaml")


def test_options_win_over_the_file():
    assert answered(ALL, {"queries": 5.0, "tried": None}).queries == 5.0
    assert answered(ALL, {"queries": None}) == ALL
    with pytest.raises(SettingsError, match="quality"):
        answered(ALL, {"quality": 1.5})


@pytest.mark.parametrize(
    ("name", "typed", "found"),
    [
        ("kind", " Extraction ", Kind.EXTRACTION),
        ("may_train", "Yes", True),
        ("may_train", "n", False),
        ("tried", "no", Tried.NO),
        ("queries", "250000", 250_000.0),
        ("classes", "12", 12),
        ("teacher", "gpt-4o", "gpt-4o"),
    ],
)
def test_what_is_typed_in(name, typed, found):
    assert parse(name, typed) == found


@given(st.sampled_from(sorted(QUESTIONS)), st.text(max_size=20))
def test_whatever_is_typed_in_is_an_answer_or_asked_again(name, typed):
    found = None
    with contextlib.suppress(ValueError):
        found = parse(name, typed)
    if found is not None:
        assert getattr(answered(Answers(), {name: found}), name) == found


def test_what_is_open_is_asked_in_order():
    assert missing(Answers()) == list(QUESTIONS)
    assert missing(ALL) == []
    assert missing(Answers(kind=Kind.GENERATION), {"queries"})[0] == "input_tokens", "open text has no classes"


def test_settings_and_traffic_answer_for_a_task(tmp_path):
    (tmp_path / "gold.csv").write_text("text,label\none,a\ntwo,b\n")
    seen = Accounted(exchanges=1000, days=3, queries=2e6, input_tokens=500)
    found = Found("desk", task(data={"labelled": [str(tmp_path / "gold.csv")]}, trust={"target_agreement": 0.93}), seen)
    said = answered(Answers(), set_by(found))
    assert (said.kind, said.classes, said.labelled, said.quality) == (Kind.CLASSIFICATION, 3, 2, 0.93)
    assert (said.may_train, said.privacy) == (True, Privacy.TEACHER)
    assert missing(said, measured_by(found)) == ["output_tokens", "latency_ms", "drift", "tried"]
    hashed = Found("desk", task(privacy={"store": "hashed"}, shadow={"floor": 0}))
    assert set_by(hashed)["privacy"] == "requests", "without texts there are no comparisons"


def test_quality_has_its_price_in_fallback():
    found = Found("desk", task(), Accounted(exchanges=1000, days=3, queries=2e6, fallback=0.1))
    agreement = Interval(0.9, 0.88, 0.92)
    plain = facts_of(ALL, found)
    assert plain.distilled.fallback.value == 0.1
    wanting = facts_of(ALL, found, Seen(agreement=agreement, served=Interval(0.92, 0.91, 0.93)))
    assert wanting.distilled.fallback.value == pytest.approx(0.5)
    assert "at most" in wanting.distilled.fallback.source
    reached = facts_of(ALL, found, Seen(agreement=agreement, served=Interval(0.96, 0.95, 0.97)))
    assert reached.distilled.fallback.value == 0.1
    said = facts_of(answered(ALL, {"fallback": 0.3}), found, Seen(agreement=agreement))
    assert said.distilled.fallback.value == 0.3


def test_the_job_changes_as_often_as_students_are_taught():
    assert facts_of(ALL).distilled.retraining_months.value == pytest.approx(Drift.WEEKLY.months)


def test_the_smaller_model_stands_alone():
    smaller = facts_of(ALL).smaller
    assert smaller is not None
    assert smaller.books().teacher_calls == 0
    assert facts_of(ALL).smaller_usd == pytest.approx(3055)
    assert facts_of(answered(ALL, {"teacher": "gpt-4o-mini"})).smaller_usd == 0
    with pytest.raises(SettingsError, match="--smaller-price"):
        facts_of(answered(ALL, {"smaller": "nobody-knows"}))


def test_what_is_missing_is_named():
    with pytest.raises(SettingsError, match="--drift"):
        facts_of(Answers(queries=1.0, teacher="gpt-4o"))
