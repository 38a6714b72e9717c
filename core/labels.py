"""Label sets: the closed list of answers of a classification task, versioned by content."""

from __future__ import annotations

import difflib
import hashlib
import json
import struct
from collections.abc import Iterable, Sequence

_QUOTES = "\"'`“”‘’ \t\r\n."


class LabelSet:
    """The labels of a task, in a fixed order. Adding, renaming or reordering makes another version."""

    __slots__ = ("_folded", "index", "names", "version")

    def __init__(self, names: Iterable[str]) -> None:
        self.names: tuple[str, ...] = tuple(names)
        self.index: dict[str, int] = {name: position for position, name in enumerate(self.names)}
        if len(self.index) != len(self.names):
            raise ValueError("a label occurs twice in the label set")
        self.version: str = hashlib.sha256("\n".join(self.names).encode()).hexdigest()[:12]
        self._folded: dict[str, str] = {_fold(name): name for name in self.names}

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self.index

    def match(self, content: str | None) -> str | None:
        """Return the label that a model's free answer means, or None.

        Forgives case, quotes, a final full stop, blanks for underscores, and `{"label": "..."}`.
        """
        if content is None:
            return None
        if content in self.index:
            return content
        folded = _fold(content)
        if folded in self._folded:
            return self._folded[folded]
        if content.lstrip().startswith("{"):
            return self._match_object(content)
        return None

    def nearest(self, name: str) -> str | None:
        """Return the label most like `name`, for error messages."""
        found = difflib.get_close_matches(name, self.names, n=1, cutoff=0.5)
        return found[0] if found else None

    def _match_object(self, content: str) -> str | None:
        try:
            parsed = json.loads(content)
        except ValueError:
            return None
        values = list(parsed.values()) if isinstance(parsed, dict) else []
        if len(values) != 1 or not isinstance(values[0], str):
            return None
        return self._folded.get(_fold(values[0]))


def pack_floats(values: Sequence[float]) -> bytes:
    """Pack numbers as little-endian float16: a distribution over 77 labels takes 154 bytes."""
    return struct.pack(f"<{len(values)}e", *values)


def unpack_floats(data: bytes) -> tuple[float, ...]:
    """Undo `pack_floats`. Raises ValueError where the length is odd."""
    if len(data) % 2:
        raise ValueError("packed float16 values have an even number of bytes")
    return struct.unpack(f"<{len(data) // 2}e", data)


def _fold(text: str) -> str:
    return text.strip(_QUOTES).casefold().replace(" ", "_").replace("-", "_")
