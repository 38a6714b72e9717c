from __future__ import annotations

import unicodedata
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.models.features import FeatureConfig, HashedNgrams

_MASK = 2**64 - 1
_BASE = 0x9E3779B97F4A7C15
_SEED = 0x51_7C_C1_B7_27_22_0A_95

GOLDEN = [46164, 62865, 40451, 34110, 33059, 54422, 31121, 33319]
GOLDEN_SUM = 1834596

any_text = st.text(alphabet=st.characters(codec=None), max_size=60)  # lone surrogates and zero bytes included


def _mix(value: int) -> int:
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


def _hash(data: bytes) -> int:
    return sum(byte * pow(_BASE, position, 2**64) for position, byte in enumerate(data)) & _MASK


def _words(data: bytes) -> list[bytes]:
    spaced = bytes(b if chr(b) in "abcdefghijklmnopqrstuvwxyz0123456789" or b >= 128 else 32 for b in data)
    return spaced.split(b" ")


def _by_hand(text: str, config: FeatureConfig) -> list[int]:
    """The same features one by one, in plain Python, in no particular order."""
    folded = " ".join(unicodedata.normalize("NFKC", text[: config.max_characters]).casefold().split())
    data = b" " + folded[: config.max_characters].encode("utf-8", "surrogatepass") + b" "
    seeds = [_mix(((column + 1) * _SEED) & _MASK) for column in range(len(config.orders) + 2)]
    shift = 64 - (config.buckets.bit_length() - 1)
    found = []
    for order, seed in zip(sorted(config.orders), seeds, strict=False):
        found += [_hash(data[i : i + order]) + seed for i in range(len(data) - order + 1)]
    words = [_hash(word) for word in _words(data) if word]
    found += [word + seeds[-2] for word in words]
    pairs = pairwise(words)
    found += [((first * 0xD6E8FEB86659FD93 + second) & _MASK) + seeds[-1] for first, second in pairs]
    return sorted(_mix(value & _MASK) >> shift for value in found)


@given(st.lists(any_text, min_size=1, max_size=8))
@settings(deadline=None)
def test_the_company_a_text_keeps_changes_nothing(texts):
    features = HashedNgrams(FeatureConfig())
    indices, offsets, words = features.encode(texts)
    assert len(offsets) == len(texts) + 1
    for row, text in enumerate(texts):
        alone, alone_offsets, alone_words = features.encode([text])
        assert alone_offsets.tolist() == [0, len(alone)]
        np.testing.assert_array_equal(indices[offsets[row] : offsets[row + 1]], alone)
        assert words[row] == alone_words[0]


@given(any_text)
@settings(deadline=None)
def test_equals_the_definition_in_plain_python(text):
    config = FeatureConfig(buckets=1024, max_characters=40)
    assert sorted(HashedNgrams(config).encode([text])[0].tolist()) == _by_hand(text, config)


def test_values_are_the_same_on_every_machine():
    indices, _, words = HashedNgrams(FeatureConfig()).encode(["Wo ist MEIN Geld?"])
    assert indices[:8].tolist() == GOLDEN
    assert int(indices.astype(np.int64).sum()) == GOLDEN_SUM
    assert words.tolist() == [4]


def test_more_texts_than_a_chunk():
    features = HashedNgrams(FeatureConfig())
    texts = [f"message number {number}" for number in range(600)]
    indices, offsets, words = features.encode(texts)
    assert offsets[-1] == len(indices)
    np.testing.assert_array_equal(indices[offsets[599] :], features.encode(texts[-1:])[0])
    assert words.tolist() == [3] * 600


def test_case_blanks_and_compatibility_forms_are_folded():
    features = HashedNgrams(FeatureConfig())
    first, _, _ = features.encode(["\uff32efund\u00a0 STATUS\n"])
    second, _, _ = features.encode(["refund status"])
    np.testing.assert_array_equal(first, second)


def test_long_texts_are_cut_and_empty_ones_have_one_token():
    features = HashedNgrams(FeatureConfig(max_characters=10))
    long, _, _ = features.encode(["abcdefghij" + "z" * 1000])
    short, _, _ = features.encode(["abcdefghij"])
    np.testing.assert_array_equal(long, short)
    assert features.encode(["", " "])[2].tolist() == [1, 1]
    assert features.encode([])[1].tolist() == [0]


def test_indices_stay_inside_the_table_and_fill_it_evenly():
    features = HashedNgrams(FeatureConfig(buckets=256))
    indices, _, _ = features.encode([f"{number} {number * 7919} apples" for number in range(2_000)])
    counts = np.bincount(np.unique(indices), minlength=256)
    assert indices.dtype == np.int32
    assert len(counts) == 256
    assert counts.all()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (FeatureConfig(buckets=1000), "power of two"),
        (FeatureConfig(orders=(3, 3)), "different numbers"),
        (FeatureConfig(orders=(), words=False, pairs=False), "no features"),
        (FeatureConfig(max_characters=0), "at least 1"),
    ],
)
def test_senseless_settings_are_refused(config, message):
    with pytest.raises(ValueError, match=message):
        HashedNgrams(config)
