"""Near-duplicates. `tests/training/test_splits.py` has more of the key."""

import pytest

from core.clusters import cluster_id, cluster_key


def test_near_duplicates_share_an_id():
    texts = ["Where is my order 1234?", "WHERE is my order #98", "my órder, where is"]
    assert len({cluster_id(text) for text in texts}) == 1
    assert cluster_id(texts[0]) != cluster_id("Where is my refund?")
    assert cluster_id("123") != cluster_id("456"), "without a word, a text stands for itself"


@pytest.mark.parametrize("text", ["", "  ", "\ud800", "漢字", "a" * 10_000])
def test_every_text_has_one(text):
    assert len(cluster_id(text)) == 16
    assert cluster_key(text) == cluster_key(text.strip())
