"""Near-duplicates: messages that differ in case, accents, punctuation, numbers or word order are one cluster."""

from __future__ import annotations

import hashlib
import re
import unicodedata

_NOT_A_WORD = re.compile(r"[\W\d_]+")
_ID_BYTES = 8


def cluster_key(text: str) -> str:
    """Return the key of a text's near-duplicate cluster: its set of words, without case, accents, digits, punctuation.

    A text without any word is a cluster of its own.
    """
    plain = "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))
    words = sorted({word for word in _NOT_A_WORD.split(plain) if word})
    return " ".join(words) or text.strip()


def cluster_id(text: str) -> str:
    """Return a short name of the text's cluster, for records: 16 hexadecimal digits of its key's BLAKE2b hash."""
    return hashlib.blake2b(cluster_key(text).encode(errors="surrogatepass"), digest_size=_ID_BYTES).hexdigest()
