"""Deleting segments: those that the archive holds, and where space is short, those that Redis holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from core import locallog
from core.journal import Journal, archived_field
from core.locallog import Segment
from core.shipper.source import Contents, Source, find_contents, with_ends

_TIGHT_SHARE: Final = 0.9
_TIGHT_FREE: Final = 2


@dataclass(frozen=True, slots=True)
class Space:
    """What the log may take of its disk. 0: no bound."""

    max_bytes: int = 0
    min_free_bytes: int = 0
    disk_free: Callable[[Path], int] = locallog.free_bytes
    """Says how many bytes the disk below a folder has left."""

    def is_tight(self, folder: Path) -> bool:
        """Whether the writers are about to run into their bounds: early enough that they need not.

        That is at nine tenths of `max_bytes`, or with less than twice `min_free_bytes` left on the disk.
        """
        if self.max_bytes and locallog.used_bytes(folder) > _TIGHT_SHARE * self.max_bytes:
            return True
        return bool(self.min_free_bytes) and self.disk_free(folder) < _TIGHT_FREE * self.min_free_bytes


class Cleaner:
    """Keeps the log's folder small."""

    def __init__(self, folder: Path, journal: Journal, space: Space, log: Any) -> None:
        self.sacrificed = 0
        """Segments deleted for want of space that were shipped, and not archived yet."""
        self._folder = folder
        self._journal = journal
        self._space = space
        self._log = log

    async def remove_archived(self, source: Source) -> bool:
        """Delete what the archive holds of a source. True: nothing is left of it, and it is gone."""
        segments = await asyncio.to_thread(locallog.list_segments, self._folder, source.name)
        left = len(segments)
        for segment, end in _shipped(source, segments):
            contents = source.contents.get(segment.start)
            if contents is None:
                contents = await asyncio.to_thread(find_contents, self._folder, source.name, segment, end)
                source.contents[segment.start] = contents
            if not await self._is_archived(source.name, contents):
                break
            await asyncio.to_thread(_remove, self._folder, source.name, segment, damaged=contents.damaged)
            del source.contents[segment.start]
            left -= 1
        if not source.ended or left:
            return False
        await asyncio.to_thread(locallog.remove_source, self._folder, source.name)
        await self._journal.forget(source.name)
        return True

    async def make_room(self, sources: Iterable[Source]) -> None:
        """Where space is short, delete the oldest shipped segments until it is not, or there are no more.

        Call it when Redis has just said how far each source is shipped.
        """
        removed = await asyncio.to_thread(self._make_room, list(sources))
        if removed:
            self.sacrificed += removed
            self._log.warning(
                "shipped_segments_deleted",
                segments=removed,
                why="the log is near log.max_bytes, or its disk near log.min_free_bytes",
                effect="until they are archived, Redis alone holds these records",
            )

    def _make_room(self, sources: list[Source]) -> int:
        if not self._space.is_tight(self._folder):
            return 0
        found = [
            (segment, source)
            for source in sources
            for segment, _ in _shipped(source, locallog.list_segments(self._folder, source.name))
        ]
        removed = 0
        for segment, source in sorted(found, key=lambda pair: pair[0].modified):
            segment.path.unlink(missing_ok=True)
            source.contents.pop(segment.start, None)
            removed += 1
            if not self._space.is_tight(self._folder):
                break
        return removed

    async def _is_archived(self, source: str, contents: Contents) -> bool:
        positions = await self._journal.archived([archived_field(stream, source) for stream in contents.ends])
        return all((position or 0) >= end for position, end in zip(positions, contents.ends.values(), strict=True))


def _shipped(source: Source, segments: list[Segment]) -> list[tuple[Segment, int]]:
    """The segments of which everything is shipped and to which nothing will be added, each with its end."""
    whole = [(segment, end) for segment, end in with_ends(segments) if end <= source.cursor]
    if whole and whole[-1][0] is segments[-1] and not source.ended:
        whole.pop()
    return whole


def _remove(folder: Path, source: str, segment: Segment, *, damaged: bool) -> None:
    """Delete a segment; one that is damaged is kept aside, for a person to look at."""
    if damaged:
        segment.path.replace(folder / f"damaged-{source}-{segment.path.name}")
    else:
        segment.path.unlink(missing_ok=True)
