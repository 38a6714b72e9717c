"""Reading logs, from outside the process that writes them."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from core.errors import StateError
from core.locallog.layout import FINISHED, HEADER, LOCK, MAX_RECORD_BYTES, SOURCE

Frame = tuple[int, bytes]
"""The offset behind a record, and the record's payload."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One file of a source."""

    path: Path
    start: int
    """Offset of its first byte."""
    size: int
    """Bytes in the file when it was looked at."""
    modified: float
    """When it was last written to, in seconds since the epoch."""

    @property
    def end(self) -> int:
        """Offset behind its last byte."""
        return self.start + self.size


def used_bytes(folder: Path) -> int:
    """Bytes of all segments below the log's folder."""
    return sum(segment.size for source in list_sources(folder) for segment in list_segments(folder, source))


def free_bytes(folder: Path) -> int:
    """Bytes that the disk below a folder has left for us."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def list_sources(folder: Path) -> list[str]:
    """The sources below the log's folder, oldest first."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if SOURCE.fullmatch(entry.name) and entry.is_dir())
    except FileNotFoundError:
        return []


def list_segments(folder: Path, source: str) -> list[Segment]:
    """A source's segments in order; none where it is gone."""
    found = []
    try:
        with os.scandir(folder / source) as entries:
            for entry in entries:
                stem, _, suffix = entry.name.rpartition(".")
                if suffix == "log" and stem.isdigit():
                    status = entry.stat()
                    found.append(Segment(Path(entry.path), int(stem), status.st_size, status.st_mtime))
    except FileNotFoundError:
        return []  # removed by a shipper, whole or in part, while we looked
    return sorted(found, key=lambda segment: segment.start)


def is_live(folder: Path, source: str) -> bool:
    """Whether the source's writer may still append: it holds its lock."""
    try:
        lock = os.open(folder / source / LOCK, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def read_frames(
    folder: Path, source: str, offset: int, max_bytes: int, segments: Sequence[Segment] | None = None
) -> list[Frame]:
    """Read complete frames from `offset` on, in order, across segments: about `max_bytes` of them, at least one.

    `segments` are the source's, for a caller that has just listed them. Where the first of them are gone, reading
    begins with the first that is there. A torn frame at the source's end is not returned: its writer is still at it, or
    died over it, and then never said that it had accepted the record.

    Raises StateError that names file and offset where the first frame to be read is damaged.
    """
    frames: list[Frame] = []
    found = list_segments(folder, source) if segments is None else segments
    for position, segment in enumerate(found):
        # A segment that is not the last one holds whole frames, up to where the next one begins.
        end = found[position + 1].start if position + 1 < len(found) else None
        if end is not None and end <= offset:
            continue
        start = max(offset, segment.start)
        more, damage = _read_segment(segment, start, end, max_bytes)
        frames += more
        if damage is not None:
            if frames:
                break
            raise StateError(f"{segment.path}: damaged at offset {damage}; what follows in this file cannot be read")
        reached = more[-1][0] if more else start
        max_bytes -= reached - start
        if max_bytes <= 0 or reached != end:
            break
    return frames


def remove_source(folder: Path, source: str) -> None:
    """Remove what is left of a source without segments."""
    for name in (FINISHED, LOCK):
        (folder / source / name).unlink(missing_ok=True)
    (folder / source).rmdir()


def _read_segment(segment: Segment, offset: int, end: int | None, max_bytes: int) -> tuple[list[Frame], int | None]:
    """Frames of one segment from `offset` on, and the offset of damage that was met.

    `end` is the offset at which the segment must be complete; None: it is the last one, and may end within a frame.
    """
    with segment.path.open("rb") as file:
        file.seek(offset - segment.start)
        left = MAX_RECORD_BYTES if end is None else end - offset
        data = file.read(min(max(max_bytes, HEADER.size), left))
        if len(data) >= HEADER.size:
            missing = HEADER.size + HEADER.unpack_from(data)[0] - len(data)
            if 0 < missing <= left:
                data += file.read(missing)
        exhausted = not file.read(1) or len(data) == left
    frames: list[Frame] = []
    position = 0
    # A million times a minute at full speed, hence the local names.
    unpack, header, size, take = HEADER.unpack_from, HEADER.size, len(data), frames.append
    while position + header <= size:
        length, checksum = unpack(data, position)
        begin = position + header
        behind = begin + length
        if not 0 < length <= MAX_RECORD_BYTES:
            return frames, offset + position
        if behind > size:
            break
        payload = data[begin:behind]
        if crc32(payload) != checksum:
            return frames, offset + position
        take((offset + behind, payload))
        position = behind
    incomplete = end is not None and exhausted and offset + position < end
    return frames, offset + position if incomplete else None
