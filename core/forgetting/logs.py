"""Forgetting in the local logs: records are overwritten where they lie.

A frame keeps its place and its length, so whoever reads or writes the log at the same time notices nothing, and what
is not shipped yet is shipped hollow. Nothing else of the segment is touched.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from zlib import crc32

from core import locallog
from core.errors import StateError
from core.forgetting.hollow import hollow, hollow_bytes
from core.locallog.layout import HEADER
from core.records import Record, decode

_READ_BYTES: Final = 4 * 1024 * 1024

Match = Callable[[Record], bool]


@dataclass(slots=True)
class LogsHollowed:
    """What was done to the logs below a folder."""

    records: int = 0
    left: list[Path] = field(default_factory=list)
    """Files that cannot be read to their end, and may hold what nobody can find."""


def logged_records(folder: Path) -> Iterator[Record]:
    """All readable records below a log's folder."""
    for source in locallog.list_sources(folder):
        for _, _, record in _frames(folder, source, []):
            yield record


def hollow_logs(folder: Path, forgotten: Match) -> LogsHollowed:
    """Overwrite the forgotten records of all logs below `folder`, and force that to disk.

    Raises OSError where a segment cannot be written.
    """
    done = LogsHollowed(left=sorted(folder.glob("damaged-*")))
    for source in locallog.list_sources(folder):
        for behind, payload, record in _frames(folder, source, done.left):
            if forgotten(record) and hollow(record) != record:
                done.records += _overwrite(folder, source, behind, payload, record)
    return done


def _frames(folder: Path, source: str, damaged: list[Path]) -> Iterator[tuple[int, bytes, Record]]:
    """A source's records, each with the offset behind it and its bytes; files with damage are added to `damaged`."""
    segments = locallog.list_segments(folder, source)
    position = segments[0].start if segments else 0
    while True:
        try:
            frames = locallog.read_frames(folder, source, position, _READ_BYTES)
        except StateError:
            holding = [segment for segment in segments if segment.start <= position]
            damaged += [segment.path for segment in holding[-1:]]
            position = min((segment.start for segment in segments if segment.start > position), default=-1)
            if position < 0:
                return
            continue
        if not frames:
            return
        for behind, payload in frames:
            position = behind
            try:
                yield behind, payload, decode(payload)
            except StateError:
                continue  # no record of ours, or a newer program's: nothing that this one has written


def _overwrite(folder: Path, source: str, behind: int, payload: bytes, record: Record) -> int:
    """Put the hollow record where the record lies; 0 where a shipper has removed its segment meanwhile."""
    emptied = hollow_bytes(record, len(payload))
    start = behind - len(payload) - HEADER.size
    holding = [segment for segment in locallog.list_segments(folder, source) if segment.start <= start]
    if not holding:
        return 0
    try:
        file = os.open(holding[-1].path, os.O_WRONLY)
    except FileNotFoundError:
        return 0
    try:
        os.pwrite(file, HEADER.pack(len(emptied), crc32(emptied)) + emptied, start - holding[-1].start)
        os.fdatasync(file)
    finally:
        os.close(file)
    return 1
