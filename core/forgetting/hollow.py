"""Hollow records: what is left of a forgotten record in a log or a stream, until the archiver drops it.

It keeps its place, its id and its numbers, since logs, streams and all that read them count in offsets and records. Of
what a person has written or could be known by nothing is left.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from core.records import Comparison, Exchange, Record, StudentAnswer, encode

_PADS: Final = ("p", "pa")
_encoder: Final = msgspec.msgpack.Encoder()


def hollow(record: Record) -> Record:
    """The record without its content; equal to itself where it is hollow already."""
    if isinstance(record, Exchange):
        return msgspec.structs.replace(
            record,
            text=None,
            request=b"",
            output=None,
            text_hash="",
            output_hash="",
            user="",
            request_id="",
            error="",
            teacher_distribution=b"",
            student=_bare(record.student),
            shadow=False,
        )
    if isinstance(record, Comparison):
        student = msgspec.structs.replace(record.student, vector=b"", distribution=b"")
        return msgspec.structs.replace(
            record,
            text=None,
            cluster="",
            error="",
            teacher_distribution=b"",
            student=student,
            challenger=_bare(record.challenger),
        )
    return msgspec.structs.replace(record, comment="")


def hollow_bytes(record: Record, size: int) -> bytes:
    """The same, encoded in exactly `size` bytes, which is what the record takes: readers skip the padding.

    Raises ValueError where it does not fit.
    """
    plain = encode(hollow(record))
    if len(plain) == size:
        return plain
    values: dict[str, Any] = msgspec.to_builtins(hollow(record), builtin_types=(bytes,))
    for name in _PADS:
        # The length of the padding's own header depends on its length, so a few lengths are tried.
        room = size - len(_encoder.encode(values | {name: b""}))
        for length in range(room, max(room - 5, -1), -1):
            padded = _encoder.encode(values | {name: bytes(length)})
            if len(padded) == size:
                return padded
    raise ValueError(f"a record of {size} bytes has no room for what is left of it")


def _bare(answer: StudentAnswer | None) -> StudentAnswer | None:
    return None if answer is None else msgspec.structs.replace(answer, vector=b"", distribution=b"")
