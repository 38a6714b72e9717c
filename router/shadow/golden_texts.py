"""Where a golden set comes from: the user's files, or the first comparisons of the task's own traffic.

A set that is taken from traffic consists of the first comparisons that the journal still holds, each near-duplicate
once. They were drawn more often where the student was unsure, which is where a changed teacher shows first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Final

import structlog

from core.data_files import check_labels, read_columns, read_rows
from core.errors import StateError
from core.journal import START, Journal, stream_name
from core.labels import LabelSet
from core.ledger import GoldenExample
from core.records import Comparison, Kind, decode
from core.settings import TaskSettings

_ENTRIES: Final = 64
_READS: Final = 32
"""Batches of entries that are read at once, at most."""
_ENOUGH: Final = 50
_PATIENCE_SECONDS: Final = 3 * 86_400.0

_log = structlog.get_logger(__name__)


def read_golden(paths: Sequence[Path], labels: LabelSet, size: int) -> list[GoldenExample]:
    """The texts of the user's files, each once, up to `size`; blocks.

    Raises DataError where a file cannot be read, or has a label that the task lacks. The column `label` may be missing.
    """
    found: dict[str, GoldenExample] = {}
    for path in paths:
        labelled = "label" in read_columns(path)
        rows = read_rows(path, label_column="label" if labelled else None)
        if labelled:
            check_labels(path, [row for row in rows if row.label is not None], labels)
        for row in rows:
            found.setdefault(row.text, GoldenExample(len(found), row.text, row.label or ""))
    if len(found) > size:
        _log.warning("golden_set_cut", texts=len(found), asked=size, hint="raise watch.golden_size")
    return list(found.values())[:size]


def digest_of_texts(examples: Sequence[GoldenExample]) -> str:
    """A digest of the texts and their truth."""
    return _digest(part for one in examples for part in (one.text, one.label))


def digest_of_teacher(task: TaskSettings) -> str:
    """A digest of all that says who is asked, and how. Another teacher is not a teacher that has changed."""
    teacher, template = task.teacher, task.compiled_templates()[0]
    return _digest(
        (teacher.base_url, teacher.model, teacher.ask, teacher.instructions, task.label_set().version, template.version)
    )


class TrafficTexts:
    """Gathers a set from the journal's comparisons; what was read once is not read again. For one event loop."""

    def __init__(self, task: str, journal: Journal, size: int) -> None:
        self._journal = journal
        self._stream = stream_name(task, Kind.COMPARISON)
        self._size = size
        self._read_id = START
        self._found: dict[str, GoldenExample] = {}
        self._first_at = 0.0

    async def gather(self, now: float) -> list[GoldenExample]:
        """The set, once there are enough texts; until then nothing.

        Fewer than wanted, though not very few, are enough where that took days. Raises redis.RedisError while Redis is
        away.
        """
        for _ in range(_READS):
            if len(self._found) >= self._size:
                break
            entries = await self._journal.read(self._stream, self._read_id, _ENTRIES)
            if not entries:
                break
            for entry in entries:
                self._take(entry.frames())
                self._read_id = entry.id
        patient = now - self._first_at < _PATIENCE_SECONDS
        if len(self._found) < self._size and (patient or len(self._found) < _ENOUGH):
            return []
        return list(self._found.values())

    def forget(self) -> None:
        """Begin anew, from what the journal holds now."""
        self._read_id, self._found, self._first_at = START, {}, 0.0

    def _take(self, frames: list[tuple[int, bytes]]) -> None:
        for _, payload in frames:
            try:
                record = decode(payload)
            except StateError:
                continue  # damaged, or of a newer worker: another one will do
            if not isinstance(record, Comparison) or len(self._found) >= self._size:
                continue
            if record.text and not record.redacted and record.teacher_label is not None:
                self._first_at = self._first_at or record.compared_at
                example = GoldenExample(len(self._found), record.text, exchange=record.exchange)
                self._found.setdefault(record.cluster or record.exchange, example)


def _digest(parts: Iterable[str]) -> str:
    found = blake2b(digest_size=16)
    for part in parts:
        data = part.encode(errors="surrogatepass")
        found.update(len(data).to_bytes(8) + data)
    return found.hexdigest()
