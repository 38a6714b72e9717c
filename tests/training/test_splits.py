from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clusters import cluster_key
from training.splits import Fractions, split

TEXTS = [f"message {chr(97 + i % 26)}{chr(97 + i // 26 % 26)}{chr(97 + i // 676)} about parcels" for i in range(3000)]


def test_every_text_is_in_one_part_and_shares_are_about_right():
    parts = split(TEXTS)
    assert sorted((*parts.train, *parts.calibration, *parts.holdout)) == list(range(len(TEXTS)))
    assert len(parts.calibration) / len(TEXTS) == pytest.approx(0.08, abs=0.02)
    assert len(parts.holdout) / len(TEXTS) == pytest.approx(0.12, abs=0.02)


def test_it_depends_on_nothing_but_text_and_salt():
    whole, half = split(TEXTS, salt="1"), split(TEXTS[:1500], salt="1")
    assert [i for i in whole.holdout if i < 1500] == list(half.holdout)
    assert split(TEXTS, salt="2") != whole


def test_near_duplicates_stay_together():
    texts = ["Where is order 4711?", "where is ORDER 12", "Order: where is?!", "Wo ist die Bestellung"]
    assert len({cluster_key(text) for text in texts[:3]}) == 1
    for salt in range(50):
        parts = split(texts, salt=str(salt))
        assert sum({0, 1, 2} <= set(part) for part in (parts.train, parts.calibration, parts.holdout)) == 1


def test_accents_do_not_matter_and_a_text_without_words_is_itself():
    assert cluster_key("Café") == cluster_key("CAFE")
    assert cluster_key("123") != cluster_key("456")


@given(st.text(max_size=40), st.sampled_from(["!", " 42", "…", "\n"]))
def test_punctuation_and_digits_never_separate(text, noise):
    if cluster_key(text) != text.strip():
        assert cluster_key(text + noise) == cluster_key(text)


def test_fractions_must_leave_something_to_teach():
    with pytest.raises(ValueError, match="leave something"):
        Fractions(0.5, 0.5)
