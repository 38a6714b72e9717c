"""The local log: where a gateway worker puts a record before the last byte of its answer goes out.

    <folder>/<source>/00000000000000000000.log    frames, one after another
                      00000000000016777241.log    the next segment; its name is the offset of its first byte
                      lock                        locked as long as the writer lives
                      finished                    there once the writer has closed the log

A *source* is one writer's life. An offset counts bytes since the source's beginning, across segments. A frame is the
payload's length and its CRC-32 (4 bytes each, little-endian), then the payload, which is never empty: so a tail of
zeros, as a lost machine may leave it, is no frame.

One record is one `write` to the file, nothing is buffered: what `append` has accepted survives a killed process. It
survives a lost machine too where `fsync` is on.
"""

from core.locallog.reader import (
    Frame,
    Segment,
    free_bytes,
    is_live,
    list_segments,
    list_sources,
    read_frames,
    remove_source,
    used_bytes,
)
from core.locallog.writer import LogWriter

__all__ = [
    "Frame",
    "LogWriter",
    "Segment",
    "free_bytes",
    "is_live",
    "list_segments",
    "list_sources",
    "read_frames",
    "remove_source",
    "used_bytes",
]
