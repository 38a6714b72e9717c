"""Writing a log: one system call a record, and never an exception for want of space."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final
from zlib import crc32

from core.errors import StartupError
from core.locallog.layout import FINISHED, HEADER, LOCK, MAX_RECORD_BYTES, SOURCE, segment_name
from core.locallog.reader import free_bytes, used_bytes

_FULL_LOOKS_SECONDS: Final = 0.5


class LogWriter:
    """Appends records to a source of its own, whose name is from `core.ids.mint("log")`. One owner, one thread.

    Raises StartupError where the folder cannot be written, ValueError for another name. `append` never raises for want
    of space: a full disk, a log that has reached `max_bytes`, or a disk with less than `min_free_bytes` left costs the
    record and not the request.
    """

    def __init__(
        self,
        folder: Path,
        source: str,
        segment_bytes: int,
        max_bytes: int,
        fsync: bool = False,
        *,
        min_free_bytes: int = 0,
        disk_free: Callable[[Path], int] = free_bytes,
    ) -> None:
        """`disk_free` says how many bytes the disk below a folder has left."""
        if not SOURCE.fullmatch(source):
            raise ValueError(f'{source!r} was not minted by core.ids.mint("log")')
        self.source = source
        self.offset = 0
        """Offset behind the last record."""
        self.records = 0
        """Records accepted."""
        self.dropped = 0
        """Records refused, for want of space or since they were too large."""
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._max_bytes = max_bytes
        self._min_free_bytes = min_free_bytes
        self._disk_free = disk_free
        self._fsync = fsync
        self._start = 0
        self._limit = 0
        """Offset up to which `append` need not look at anything else than this number."""
        self._room_end = 0
        """Offset up to which there is room, as far as was seen."""
        self._looked = -_FULL_LOOKS_SECONDS
        self._torn = False
        self._lock, self._file = self._create()
        self._measure()

    def append(self, payload: bytes) -> bool:
        """Append one record. False: it was dropped, and counted in `dropped`.

        Raises ValueError for an empty payload, which would be no frame.
        """
        length = len(payload)
        end = self.offset + HEADER.size + length
        if (end > self._limit or length > MAX_RECORD_BYTES or not length) and not self._prepare(length):
            self.dropped += 1
            return False
        frame = HEADER.pack(length, crc32(payload)) + payload
        try:
            written = os.write(self._file, frame)
            if self._fsync and written == len(frame):
                os.fdatasync(self._file)
        except OSError:
            written = -1
        if written != len(frame):
            self._mend()
            self.dropped += 1
            return False
        self.offset = end
        self.records += 1
        return True

    def close(self) -> None:
        """Mark the source as finished. A second call does nothing."""
        if self._file < 0:
            return
        try:
            (self._folder / self.source / FINISHED).touch()
        finally:
            os.close(self._file)
            os.close(self._lock)
            self._file = self._lock = -1

    def _create(self) -> tuple[int, int]:
        """Make the source's folder with its lock and first segment.

        It gets its name when it is complete and locked: a shipper never sees it and takes it for a dead writer's.
        """
        hidden = self._folder / f".{self.source}"
        try:
            hidden.mkdir(parents=True)
            lock = os.open(hidden / LOCK, os.O_CREAT | os.O_RDWR, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
            file = _open_segment(hidden, 0)
            hidden.rename(self._folder / self.source)
            if self._fsync:
                _sync_folder(self._folder)
        except OSError as error:
            raise StartupError(
                f"{self._folder}: cannot keep the local log here ({error.strerror}); make the folder writable, free "
                "space on the disk, or choose another folder with `state`"
            ) from error
        return lock, file

    def _prepare(self, length: int) -> bool:
        """What `append` does now and then: begin another segment, look for room. False: the record cannot be taken."""
        if not length:
            raise ValueError(f"a record has 1 to {MAX_RECORD_BYTES} bytes, not 0")
        end = self.offset + HEADER.size + length
        if length > MAX_RECORD_BYTES or (self._torn and not self._mend()):
            return False
        if end > self._start + self._segment_bytes and self.offset > self._start:
            self._rotate()
        if end > self._room_end and time.monotonic() - self._looked >= _FULL_LOOKS_SECONDS:
            self._measure()  # the shipper may have made room; a full log does not look with every request
        self._set_limit()
        return end <= self._room_end

    def _rotate(self) -> None:
        """Go on in a new segment. Where none can be opened, the old one simply grows."""
        try:
            file = _open_segment(self._folder / self.source, self.offset)
            if self._fsync:
                _sync_folder(self._folder / self.source)
        except OSError:
            return
        os.close(self._file)
        self._file, self._start = file, self.offset
        self._measure()

    def _mend(self) -> bool:
        """Cut a torn frame off, so that the next one is readable."""
        try:
            os.ftruncate(self._file, self.offset - self._start)
            self._torn = False
        except OSError:
            self._torn = True
        self._set_limit()
        return not self._torn

    def _measure(self) -> None:
        """See how much room is left. Others write too: with several, a bound may be passed by a segment each."""
        self._looked = time.monotonic()
        room = self._max_bytes - used_bytes(self._folder)
        if self._min_free_bytes:
            with contextlib.suppress(OSError):  # a disk that does not even say so will say it when it is written to
                room = min(room, self._disk_free(self._folder) - self._min_free_bytes)
        self._room_end = self.offset + room
        self._set_limit()

    def _set_limit(self) -> None:
        self._limit = 0 if self._torn else min(self._start + self._segment_bytes, self._room_end)


def _open_segment(folder: Path, start: int) -> int:
    return os.open(folder / segment_name(start), os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_WRONLY, 0o600)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
