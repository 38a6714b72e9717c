"""What of a text is compared: its size, what it is made of, and whether its words were seen before."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from typing import Final

import numpy as np

_WORD: Final = re.compile(r"[^\W\d_]+")
_CHARACTERS: Final = 4000
_WORDS: Final = 64
_VOCABULARY: Final = 20_000


def shape(text: str) -> tuple[int, int, float]:
    """Characters, words, and the share of characters other than letters among those that are no white space.

    Words and shares are those of the first 4,000 characters.
    """
    begin = text[:_CHARACTERS]
    words = _WORD.findall(begin)
    solid = sum(map(len, begin.split()))
    return len(text), len(words), 1 - sum(map(len, words)) / solid if solid else 0.0


def word_hashes(text: str) -> bytes:
    """Hashes of a text's first 64 different words, without case: sorted little-endian uint32 (CRC-32)."""
    words = dict.fromkeys(_WORD.findall(text[:_CHARACTERS].casefold()))
    hashes = [zlib.crc32(word.encode(errors="surrogatepass")) for word, _ in zip(words, range(_WORDS), strict=False)]
    return np.array(sorted(set(hashes)), dtype="<u4").tobytes()


def vocabulary_of(texts: Iterable[bytes]) -> bytes:
    """The words that at least two texts have, the most frequent 20,000; in the form of `word_hashes`.

    A word of one text alone may be a name, and says nothing of what is usual.
    """
    every = np.frombuffer(b"".join(texts), dtype="<u4")
    words, counts = np.unique(every, return_counts=True)
    words, counts = words[counts >= 2], counts[counts >= 2]
    most = np.argsort(-counts, kind="stable")[:_VOCABULARY]
    return np.sort(words[most]).tobytes()


def unknown_share(hashes: bytes, vocabulary: bytes) -> float:
    """Share of a text's words that the vocabulary does not hold; 0 without words."""
    words, known = np.frombuffer(hashes, dtype="<u4"), np.frombuffer(vocabulary, dtype="<u4")
    if not len(words):
        return 0.0
    if not len(known):
        return 1.0
    at = known.searchsorted(words)
    at[at == len(known)] = 0
    return int(np.count_nonzero(known[at] != words)) / len(words)
