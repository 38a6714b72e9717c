"""Writing a log: one system call a record, and never an exception for want of space."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import Final
from zlib import crc32

from core.errors import StartupError
from core.locallog.layout import FINISHED, HEADER, LOCK, MAX_RECORD_BYTES, SOURCE, segment_name
from core.locallog.reader import used_bytes

_FULL_LOOKS_SECONDS: Final = 0.5


class LogWriter:
    """Appends records to a source of its own, whose name is from `core.ids.mint("log")`. One owner, one thread.

    Raises StartupError where the folder cannot be written, ValueError for another name. `append` never raises for want
    of space: a full disk, or a log that has reached `max_bytes`, costs the record and not the request.
    """

    def __init__(self, folder: Path, source: str, segment_bytes: int, max_bytes: int, fsync: bool = False) -> None:
        if not SOURCE.fullmatch(source):
            raise ValueError(f'{source!r} was not minted by core.ids.mint("log")')
        self.source = source
        self.offset = 0
        """Offset behind the last record."""
        self.records = 0
        """Records accepted."""
        self.dropped = 0
        """Records refused, for want of space."""
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._max_bytes = max_bytes
        self._fsync = fsync
        self._start = 0
        self._room = 0
        self._looked = -_FULL_LOOKS_SECONDS
        self._torn = False
        self._lock, self._file = self._create()
        self._measure()

    def append(self, payload: bytes) -> bool:
        """Append one record. False: it was dropped, and counted in `dropped`.

        Raises ValueError for a payload that is empty or larger than MAX_RECORD_BYTES.
        """
        length = len(payload)
        if not 0 < length <= MAX_RECORD_BYTES:
            raise ValueError(f"a record has 1 to {MAX_RECORD_BYTES} bytes, not {length}")
        size = HEADER.size + length
        if self.offset + size > self._start + self._segment_bytes and self.offset > self._start:
            self._rotate()
        if (self._torn and not self._mend()) or (self._room < size and not self._find_room(size)):
            self.dropped += 1
            return False
        try:
            written = os.write(self._file, HEADER.pack(length, crc32(payload)) + payload)
            if self._fsync and written == size:
                os.fdatasync(self._file)
        except OSError:
            written = -1
        if written != size:
            self._mend()
            self.dropped += 1
            return False
        self.offset += size
        self._room -= size
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

    def _rotate(self) -> None:
        """Go on in a new segment. Where none can be opened, the old one simply grows."""
        if self._torn and not self._mend():
            return
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
        return not self._torn

    def _find_room(self, size: int) -> bool:
        """Whether the shipper has made room since the last look; a full log does not look with every request."""
        if time.monotonic() - self._looked >= _FULL_LOOKS_SECONDS:
            self._measure()
        return self._room >= size

    def _measure(self) -> None:
        """See how much room is left. Others write too: with several, the bound may be passed by a segment each."""
        self._looked = time.monotonic()
        self._room = self._max_bytes - used_bytes(self._folder)


def _open_segment(folder: Path, start: int) -> int:
    return os.open(folder / segment_name(start), os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_WRONLY, 0o600)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
