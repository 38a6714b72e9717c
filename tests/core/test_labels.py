import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.labels import LabelSet, pack_floats, unpack_floats

LABELS = LabelSet(["refund_status", "order_status", "Talk To Human"])


@pytest.mark.parametrize(
    ("content", "label"),
    [
        ("refund_status", "refund_status"),
        (" Refund Status. ", "refund_status"),
        ("REFUND-STATUS", "refund_status"),
        ('"order_status"', "order_status"),
        ('{"label": "order status"}', "order_status"),
        ("talk_to_human", "Talk To Human"),
        ("I think it is refund_status", None),
        ('{"label": "order_status", "confidence": 1}', None),
        ("{not json", None),
        ("", None),
        (None, None),
    ],
)
def test_a_free_answer_is_matched_to_a_label_or_to_none(content, label):
    assert LABELS.match(content) == label


def test_the_version_follows_content_and_order():
    assert LabelSet(["a", "b"]).version == LabelSet(["a", "b"]).version
    assert LabelSet(["a", "b"]).version != LabelSet(["b", "a"]).version
    assert LabelSet(["a", "b"]).version != LabelSet(["a", "b", "c"]).version


def test_a_label_may_not_occur_twice():
    with pytest.raises(ValueError, match="occurs twice"):
        LabelSet(["a", "a"])


def test_the_nearest_label_is_suggested():
    assert LABELS.nearest("refund_statsu") == "refund_status"
    assert LABELS.nearest("zzzzzz") is None


@given(st.lists(st.floats(0, 1), max_size=400))
def test_packed_probabilities_come_back_within_half_precision(values):
    found = unpack_floats(pack_floats(values))
    assert len(found) == len(values)
    assert all(math.isclose(a, b, rel_tol=1e-3, abs_tol=1e-7) for a, b in zip(found, values, strict=True))


def test_an_odd_number_of_bytes_is_refused():
    with pytest.raises(ValueError, match="even number"):
        unpack_floats(b"abc")
