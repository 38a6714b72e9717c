"""Hashed n-grams: texts to rows of an embedding table, vectorised over a whole batch.

A text is folded (NFKC, case, blanks), encoded as UTF-8 and padded with one blank at both ends. Its features are the
byte n-grams of each order, its words (runs of ASCII letters, digits, and bytes of other scripts), and pairs of
neighbouring words, as in fastText (Bojanowski et al., 1607.04606) and the hashing trick (Weinberger et al., 0902.2206).

All hashes are polynomials modulo 2^64, so that the hash of any window follows exactly from a running sum over the whole
batch: `sum(b[j] * P^(j-s) for s <= j < e) = (C[e] - C[s]) * P^-s`, P being odd and therefore invertible. The result
depends neither on the machine nor on which texts share a batch.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

_CHUNK: Final = 256
"""Texts worked on at once: enough to spread numpy's fixed costs, few enough for the cache."""

_MAX_BYTES_PER_CHARACTER: Final = 4

_BASE: Final = 0x9E3779B97F4A7C15
_BASE_INVERSE: Final = pow(_BASE, -1, 2**64)
_PAIR: Final = np.uint64(0xD6E8FEB86659FD93)
_SEED: Final = 0x51_7C_C1_B7_27_22_0A_95
_SHIFT_1, _SHIFT_2, _SHIFT_3 = np.uint64(30), np.uint64(27), np.uint64(31)
_MIX_1: Final = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2: Final = np.uint64(0x94D049BB133111EB)


class FeatureConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What makes up the features. Part of a model's identity: another value makes other features."""

    buckets: int = 65_536
    """Rows of the embedding table; a power of two."""
    orders: tuple[int, ...] = (3, 4, 5)
    """Lengths of the byte n-grams."""
    words: bool = True
    """Whether words are features."""
    pairs: bool = True
    """Whether pairs of neighbouring words are features."""
    max_characters: int = 2_000
    """Longer texts are cut."""

    def check(self) -> None:
        """Raise ValueError where the values make no sense."""
        if self.buckets < 2 or self.buckets & (self.buckets - 1):
            raise ValueError(f"buckets must be a power of two, not {self.buckets}")
        if not all(1 <= order <= 16 for order in self.orders) or len(set(self.orders)) != len(self.orders):
            raise ValueError(f"orders must be different numbers from 1 to 16, not {self.orders}")
        if not self.orders and not self.words and not self.pairs:
            raise ValueError("without n-grams, words and pairs there are no features")
        if self.max_characters < 1:
            raise ValueError("max_characters must be at least 1")


Encoded = tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]
"""`(indices (m,), offsets (n+1,), words (n,))`: the features of text i are `indices[offsets[i]:offsets[i+1]]`."""


class HashedNgrams:
    """Maps texts to feature indices. Immutable, therefore safe to share between threads."""

    def __init__(self, config: FeatureConfig) -> None:
        config.check()
        self._config = config
        self._orders = tuple(sorted(config.orders))
        self._order_array = np.array(self._orders, dtype=np.int64)
        self._columns = len(self._orders) + int(config.words) + int(config.pairs)
        self._seeds = splitmix64(np.arange(1, self._columns + 1, dtype=np.uint64) * np.uint64(_SEED))
        self._shift = np.uint64(64 - (config.buckets.bit_length() - 1))
        longest = config.max_characters * _MAX_BYTES_PER_CHARACTER + 2
        self._powers = _powers(_BASE, longest + 1)
        self._inverses = _powers(_BASE_INVERSE, longest + 1)
        self._is_word = np.zeros(256, dtype=np.bool_)
        self._is_word[[*b"0123456789abcdefghijklmnopqrstuvwxyz", *range(128, 256)]] = True

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Return indices, offsets and word counts of `texts`. Every text counts as at least one word."""
        if len(texts) <= _CHUNK:
            return self._encode_chunk(texts)
        parts = [self._encode_chunk(texts[start : start + _CHUNK]) for start in range(0, len(texts), _CHUNK)]
        counts = np.concatenate([np.diff(offsets) for _, offsets, _ in parts])
        return (
            np.concatenate([part[0] for part in parts]),
            _offsets(counts),
            np.concatenate([part[2] for part in parts]),
        )

    def _encode_chunk(self, texts: Sequence[str]) -> Encoded:
        if not texts:
            return np.zeros(0, np.int32), np.zeros(1, np.int64), np.zeros(0, np.int64)
        folded = [b" " + self._fold(text) + b" " for text in texts]
        lengths = np.array([len(data) for data in folded])
        text_ends = np.add.accumulate(lengths)
        data = np.frombuffer(b"".join(folded), dtype=np.uint8)
        sums = np.zeros(len(data) + 1, dtype=np.uint64)
        if len(folded) == 1:  # the same as below, in fewer steps: most texts come alone
            powers, inverses = self._powers[: len(data)], self._inverses[: len(data)]
            remaining = np.arange(len(data), 0, -1)
        else:
            remaining = text_ends.repeat(lengths) - np.arange(len(data))  # bytes up to the end of the text
            local = lengths.repeat(lengths) - remaining
            powers, inverses = self._powers[local], self._inverses[local]
        np.add.accumulate(powers * data, out=sums[1:])

        # One row a byte, one column a kind of feature: reading row by row keeps every text's features together.
        hashes = np.zeros((len(data), self._columns), dtype=np.uint64)
        present = np.zeros((len(data), self._columns), dtype=np.bool_)
        for column, order in enumerate(self._orders):
            windows = max(len(data) - order + 1, 0)
            np.multiply(sums[order:] - sums[:windows], inverses[:windows], out=hashes[:windows, column])
        np.greater_equal(remaining[:, None], self._order_array, out=present[:, : len(self._orders)])
        counts = np.maximum(lengths[:, None] - (self._order_array - 1), 0).sum(axis=1)
        words = self._add_words(data, sums, inverses, text_ends, hashes, present)
        if self._config.words:
            counts += words
        if self._config.pairs:
            counts += np.maximum(words - 1, 0)
        hashes += self._seeds
        indices = (splitmix64(hashes[present]) >> self._shift).astype(np.int32)
        return indices, _offsets(counts), np.maximum(words, 1)

    def _add_words(
        self,
        data: NDArray[np.uint8],
        sums: NDArray[np.uint64],
        inverses: NDArray[np.uint64],
        text_ends: NDArray[np.int64],
        hashes: NDArray[np.uint64],
        present: NDArray[np.bool_],
    ) -> NDArray[np.int64]:
        """Enter words and pairs at the row of their first byte; return the number of words of each text."""
        inside = self._is_word[data]
        edges = (inside[1:] != inside[:-1]).nonzero()[0] + 1  # every text begins and ends with a blank
        starts, ends = edges[::2], edges[1::2]
        words_up_to: NDArray[np.int64] = starts.searchsorted(text_ends)
        per_text: NDArray[np.int64] = words_up_to.copy()
        per_text[1:] -= words_up_to[:-1]
        if not len(starts):
            return per_text
        word_hashes = (sums[ends] - sums[starts]) * inverses[starts]
        column = len(self._orders)
        if self._config.words:
            hashes[starts, column] = word_hashes
            present[starts, column] = True
            column += 1
        if self._config.pairs:
            hashes[starts[:-1], column] = word_hashes[:-1] * _PAIR + word_hashes[1:]
            present[starts, column] = True
            present[starts[words_up_to - 1], column] = False  # the last word of a text has no neighbour
        return per_text

    def _fold(self, text: str) -> bytes:
        limit = self._config.max_characters
        if len(text) > limit:
            text = text[:limit]
        if text.isascii():  # the same as below, without the Unicode tables
            return " ".join(text.lower().split()).encode("ascii")
        folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
        return folded[:limit].encode("utf-8", "surrogatepass")


def splitmix64(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mix the bits of each value, in place: the finaliser of splitmix64 (Steele, Lea and Flood, 2014)."""
    values ^= values >> _SHIFT_1
    values *= _MIX_1
    values ^= values >> _SHIFT_2
    values *= _MIX_2
    values ^= values >> _SHIFT_3
    return values


def _powers(base: int, count: int) -> NDArray[np.uint64]:
    factors = np.full(count, base, dtype=np.uint64)
    factors[0] = 1
    return np.multiply.accumulate(factors)


def _offsets(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    offsets = np.zeros(len(counts) + 1, dtype=np.int64)
    np.add.accumulate(counts, out=offsets[1:])
    return offsets
