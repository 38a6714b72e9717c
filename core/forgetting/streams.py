"""Forgetting in the journal: entries are replaced by ones with the same id, whose forgotten records are hollow."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Final

import msgspec

from core.errors import StateError
from core.forgetting.hollow import hollow
from core.journal import START, Entry, Journal
from core.records import Record, decode, encode

_READ_ENTRIES: Final = 16

Match = Callable[[Record], bool]


async def journalled_records(journal: Journal, stream: str) -> AsyncIterator[Record]:
    """All readable records of a stream. Raises redis.RedisError while Redis is away."""
    async for entry in _entries(journal, stream):
        for _, payload in entry.frames():
            record = _decoded(payload)
            if record is not None:
                yield record


async def hollow_stream(journal: Journal, stream: str, forgotten: Match) -> int:
    """Hollow the forgotten records of a stream; returns how many there were.

    Entries keep their ids, offsets and order, and consumer groups notice nothing. Raises redis.RedisError while Redis
    is away.
    """
    batches: dict[str, bytes] = {}
    hollowed = 0
    async for entry in _entries(journal, stream):
        frames, count = _emptied(entry, forgotten)
        if count:
            batches[entry.id] = msgspec.msgpack.encode(frames)
            hollowed += count
    if batches:
        await journal.replace_batches(stream, batches)
    return hollowed


async def _entries(journal: Journal, stream: str) -> AsyncIterator[Entry]:
    after = START
    while entries := await journal.read(stream, after, _READ_ENTRIES):
        for entry in entries:
            yield entry
        after = entries[-1].id


def _emptied(entry: Entry, forgotten: Match) -> tuple[list[tuple[int, bytes]], int]:
    frames: list[tuple[int, bytes]] = []
    count = 0
    for behind, payload in entry.frames():
        record = _decoded(payload)
        if record is not None and forgotten(record) and hollow(record) != record:
            frames.append((behind, encode(hollow(record))))
            count += 1
        else:
            frames.append((behind, payload))
    return frames, count


def _decoded(payload: bytes) -> Record | None:
    try:
        return decode(payload)
    except StateError:
        return None  # no record of ours, or a newer program's
