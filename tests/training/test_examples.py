from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import DataError
from core.labels import LabelSet
from core.teacher import TeacherAnswer
from training.examples import (
    VOTE_SMOOTHING,
    Example,
    deduplicate,
    from_answer,
    gold_labels,
    hard_labels,
    read_examples,
    target_distributions,
    write_examples,
)

LABELS = LabelSet(["a", "b", "c", "d"])


def test_what_is_written_is_read(tmp_path):
    examples = [
        Example("one", "a", "b", {"b": 0.75, "a": 0.25}, "logprobs", "prompts.csv", 2.0),
        Example("zwei \u2028 Zeilen", "c"),
    ]
    path = tmp_path / "deep" / "labels.jsonl"
    write_examples(path, examples)
    assert read_examples(path, LABELS) == examples
    assert [file.name for file in path.parent.iterdir()] == ["labels.jsonl"]


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "labels.jsonl"
    write_examples(path, [Example("old", "a")])

    def broken():
        yield Example("new", "a")
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError):
        write_examples(path, broken())
    assert [example.text for example in read_examples(path, LABELS)] == ["old"]
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "row 2: is not a labelled example"),
        ('{"text": "x", "lable": "a"}', "row 2: is not a labelled example"),
        ('{"text": "x"}', "row 2: has neither a gold label nor a teacher's"),
        ('{"text": " ", "label": "a"}', "row 2: the text is empty"),
        ('{"text": "x", "label": "A1"}', "row 2: the task has no label 'A1'"),
        ('{"text": "x", "label": "a", "weight": 0}', "row 2: the weight must be positive"),
        ('{"text": "x", "teacher": "a", "distribution": {"a": 0}}', "row 2: the distribution holds no probability"),
    ],
)
def test_a_broken_row_is_named(tmp_path, line, message):
    path = tmp_path / "labels.jsonl"
    path.write_text('{"text": "fine", "label": "a"}\n' + line + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_examples(path, LABELS)


def test_no_file_says_what_writes_it(tmp_path):
    with pytest.raises(DataError, match="tutelage label"):
        read_examples(tmp_path / "none.jsonl", LABELS)


def test_duplicates_are_merged_and_lend_what_the_first_lacks():
    merged = deduplicate(
        [
            Example("Where is it?", teacher="a", distribution={"a": 1.0}, method="distribution"),
            Example("Another", "b"),
            Example("where  is it? ", "c", teacher="b"),
        ]
    )
    assert [(example.text, example.label, example.teacher) for example in merged] == [
        ("Where is it?", "c", "a"),
        ("Another", "b", None),
    ]


def test_targets_spread_what_is_not_shown_and_smooth_bare_answers():
    examples = [
        Example("full", teacher="a", distribution={"a": 0.7, "b": 0.1, "c": 0.1, "d": 0.1}),
        Example("top two", teacher="b", distribution={"b": 0.6, "a": 0.2}),
        Example("vote", teacher="c"),
        Example("gold", "d"),
    ]
    targets = target_distributions(examples, LABELS)
    np.testing.assert_allclose(targets[0], [0.7, 0.1, 0.1, 0.1], rtol=1e-6)
    np.testing.assert_allclose(targets[1], [0.2, 0.6, 0.1, 0.1], rtol=1e-6)
    assert targets[2, 2] == pytest.approx(1 - VOTE_SMOOTHING + VOTE_SMOOTHING / 4)
    assert targets.argmax(axis=1).tolist() == hard_labels(examples, LABELS).tolist() == [0, 1, 2, 3]
    assert gold_labels(examples, LABELS).tolist() == [-1, -1, -1, 3]


@given(st.dictionaries(st.sampled_from("abcd"), st.floats(1e-6, 1.0), min_size=1))
def test_targets_are_distributions(spread):
    example = Example("x", teacher=max(spread, key=lambda name: spread[name]), distribution=spread)
    row = target_distributions([example], LABELS)[0]
    assert row.sum() == pytest.approx(1.0, abs=1e-5)
    assert row.min() >= 0


def test_an_answer_becomes_an_example_without_its_noise():
    answer = TeacherAnswer("a", {"a": 0.123456789, "b": 1e-9}, "distribution", 5, 1)
    example = from_answer("x", answer, source="f.csv")
    assert example == Example("x", None, "a", {"a": 0.12346}, "distribution", "f.csv")
