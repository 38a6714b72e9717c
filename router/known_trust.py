"""What students may answer, as the ledger says it, and as it is kept on disk for when the ledger is away."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from core.ledger import Ledger
from core.whole_file import write_whole

Trusted = dict[str, frozenset[str]]
"""For each version, the labels that it may answer."""


class KnownTrust(NamedTuple):
    """All that is known, by task."""

    trusted: dict[str, Trusted]
    confidences: dict[str, dict[str, float]]
    """For each version that was judged for a target, the lowest confidence at which it may answer; infinite: none."""


NO_TRUST: Final = KnownTrust({}, {})


class _Kept(msgspec.Struct):
    """The same on disk; JSON knows no infinity."""

    trusted: dict[str, dict[str, list[str]]]
    confidences: dict[str, dict[str, float | None]]


_decoder: Final = msgspec.json.Decoder(_Kept)


def read_ledger(ledger: Ledger, tasks: Iterable[str]) -> KnownTrust:
    """Read what the ledger says of these tasks. Raises sqlalchemy.exc.SQLAlchemyError while it is away."""
    names = list(tasks)
    trusted = {task: ledger.trusted(task) for task in names}
    # Thresholds are written before the trust that rests on them: read after it, they are never older.
    return KnownTrust(trusted, {task: ledger.thresholds.confidences(task) for task in names})


def read_file(path: Path) -> KnownTrust:
    """Read what `write_file` wrote; NO_TRUST where that cannot be read."""
    try:
        kept = _decoder.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError):
        return NO_TRUST
    return KnownTrust(
        {task: {v: frozenset(labels) for v, labels in found.items()} for task, found in kept.trusted.items()},
        {task: {v: inf if c is None else c for v, c in found.items()} for task, found in kept.confidences.items()},
    )


def write_file(path: Path, trust: KnownTrust) -> None:
    """Keep it on disk, whole or not at all. Raises OSError."""
    kept = _Kept(
        {task: {v: sorted(labels) for v, labels in found.items()} for task, found in trust.trusted.items()},
        {task: {v: None if c == inf else c for v, c in found.items()} for task, found in trust.confidences.items()},
    )
    write_whole(path, msgspec.json.encode(kept))
