"""Looking at somebody's data before a task is made of it. Nothing is written here."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from core.clusters import cluster_key
from core.data_files import Row, read_columns, read_rows
from core.errors import DataError

THIN: Final = 10
"""A class with fewer examples than this is called thin."""

_TEXT_NAMES: Final = ("text", "message", "utterance", "prompt", "query", "input", "content", "sentence")
_LABEL_NAMES: Final = ("label", "category", "intent", "class", "target")


@dataclass(frozen=True, slots=True)
class Survey:
    """What stands in a data file."""

    rows: tuple[Row, ...]
    text_column: str
    label_column: str | None
    counts: dict[str, int]
    """Examples of each label, by name."""
    different: int
    """Texts that are no near-duplicates of one another."""
    median_characters: int

    @property
    def labels(self) -> list[str]:
        """The labels found, sorted."""
        return sorted(self.counts)

    @property
    def thin(self) -> list[str]:
        """Labels with few examples, the fewest first."""
        return sorted((name for name, count in self.counts.items() if count < THIN), key=lambda n: (self.counts[n], n))

    @property
    def alike(self) -> list[tuple[str, str]]:
        """Labels that differ in case, blanks or hyphens only, and are probably one."""
        folded: dict[str, str] = {}
        pairs = []
        for name in self.labels:
            key = "".join(character for character in name.casefold() if character.isalnum())
            if key in folded:
                pairs.append((folded[key], name))
            folded.setdefault(key, name)
        return pairs


def survey(path: Path, text_column: str | None, label_column: str | None) -> Survey:
    """Read a file and count. Columns that are not named are guessed from their usual names.

    Raises DataError where the file cannot be read, or no column looks like the text.
    """
    columns = read_columns(path)
    text = text_column or _guess(columns, _TEXT_NAMES)
    if text is None:
        raise DataError(f"{path}: no column looks like the text; name it with --text-column ({', '.join(columns)})")
    label = label_column or _guess([column for column in columns if column != text], _LABEL_NAMES)
    rows = read_rows(path, text_column=text, label_column=label)
    counts = Counter(row.label for row in rows if row.label is not None)
    return Survey(
        rows=tuple(rows),
        text_column=text,
        label_column=label,
        counts={str(name): count for name, count in counts.items()},
        different=len({cluster_key(row.text) for row in rows}),
        median_characters=round(statistics.median(len(row.text) for row in rows)),
    )


def _guess(columns: Sequence[str], usual: Sequence[str]) -> str | None:
    by_name = {column.strip().casefold(): column for column in columns}
    return next((by_name[name] for name in usual if name in by_name), None)
