"""What the shipper knows of a source, and how it reads the next batch of it. Calls block."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from core import locallog
from core.errors import StateError
from core.journal import stream_of
from core.locallog import Frame, Segment

_SCAN_BYTES: Final = 1024 * 1024


@dataclass(slots=True)
class Contents:
    """What a segment holds: per stream, the offset behind its last record."""

    ends: dict[str, int] = field(default_factory=dict)
    damaged: bool = False


@dataclass(slots=True)
class Source:
    """What the shipper knows of a source. All of it can be found out again."""

    name: str
    shipped: int | None
    """Where Redis says that it is; None: Redis does not know it."""
    cursor: int
    """Where reading goes on: behind `shipped` where damage was passed over."""
    ended: bool = False
    """The writer is dead and everything is read."""
    suspected: int = -1
    """Where damage was seen once; a second look decides, since a live writer may be cutting a torn frame off."""
    contents: dict[int, Contents] = field(default_factory=dict)
    """By a segment's start: what was shipped of it, where that began at its start."""

    def note(self, batch: Batch) -> None:
        """Remember what of a segment is shipped, so that it need not be read again to be deleted."""
        if batch.begin == batch.segment:
            self.contents[batch.segment] = Contents()
        contents = self.contents.get(batch.segment)
        if contents is not None:
            contents.ends |= {stream: frames[-1][0] for stream, frames in batch.streams.items()}


@dataclass(frozen=True, slots=True)
class Batch:
    """Records that were read together, all out of one segment, by stream."""

    segment: int
    """Where the segment starts."""
    begin: int
    """Where reading began."""
    end: int
    """Offset behind the last record."""
    count: int
    unreadable: int
    streams: dict[str, list[Frame]]
    more: bool
    """There was more in the log than this, when it was looked at."""


def read_batch(folder: Path, source: Source, max_bytes: int) -> tuple[Batch | None, bool]:
    """The next records, if there are any, and whether the writer is alive.

    Raises StateError where the next record is damaged.
    """
    # Asked before reading: a writer that is dead now has written all that it ever will.
    live = locallog.is_live(folder, source.name)
    segments = locallog.list_segments(folder, source.name)
    for segment, end in with_ends(segments):
        if end > source.cursor:
            begin = max(source.cursor, segment.start)
            frames = locallog.read_frames(folder, source.name, begin, min(max_bytes, end - begin), segments)
            return (_to_batch(frames, segment, begin, segments[-1].end) if frames else None), live
    return None, live


def find_contents(folder: Path, source: str, segment: Segment, end: int) -> Contents:
    """Read a segment, of which everything is shipped, through once more."""
    contents, offset = Contents(), segment.start
    try:
        while offset < end:
            frames = [frame for frame in locallog.read_frames(folder, source, offset, _SCAN_BYTES) if frame[0] <= end]
            if not frames:
                break  # a torn end
            for behind, payload in frames:
                stream = stream_of(payload)
                if stream is not None:
                    contents.ends[stream] = behind
            offset = frames[-1][0]
    except StateError:
        contents.damaged = True
    return contents


def with_ends(segments: list[Segment]) -> list[tuple[Segment, int]]:
    """Each segment with the offset at which the next one begins; the last one ends where it ends."""
    ends = [segment.start for segment in segments[1:]] + [segment.end for segment in segments[-1:]]
    return list(zip(segments, ends, strict=True))


def _to_batch(frames: list[Frame], segment: Segment, begin: int, log_end: int) -> Batch:
    streams: dict[str, list[Frame]] = {}
    unreadable = 0
    for frame in frames:
        stream = stream_of(frame[1])
        if stream is None:
            unreadable += 1
        elif stream in streams:
            streams[stream].append(frame)
        else:
            streams[stream] = [frame]
    end = frames[-1][0]
    return Batch(segment.start, begin, end, len(frames) - unreadable, unreadable, streams, more=end < log_end)
