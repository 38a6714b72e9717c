"""What stands in the streams, under which names, and how redis-py gives it back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import msgspec

from core.locallog import Frame
from core.records import Kind

_TASK: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_KINDS: Final = {"exchange": Kind.EXCHANGE, "feedback": Kind.FEEDBACK, "comparison": Kind.COMPARISON}

_batch_decoder = msgspec.msgpack.Decoder(list[tuple[int, bytes]])


class _Head(msgspec.Struct):
    """What of a record decides its stream."""

    type: str
    task: str


_head_decoder = msgspec.msgpack.Decoder(_Head)


@dataclass(frozen=True, slots=True)
class Entry:
    """A batch of records of one source, as it stands in a stream."""

    id: str
    source: str
    end: int
    """Offset behind the last record."""
    count: int
    batch: bytes
    total: int = 0
    """Records that were ever added to the stream, these included; 0 where a Tutelage added them that did not count."""

    @property
    def at(self) -> float:
        """When it was added, in seconds since the epoch, by Redis' clock."""
        return added_at(self.id)

    def frames(self) -> list[Frame]:
        """The records, in the source's order, each with the offset behind it."""
        return _batch_decoder.decode(self.batch)


def stream_name(task: str, kind: Kind) -> str:
    """The stream of a task and kind."""
    return f"tutelage:{task}:{kind.value}"


def stream_parts(stream: str) -> tuple[str, Kind]:
    """Task and kind of a stream. Raises ValueError for a name that is none of ours."""
    prefix, _, rest = stream.partition(":")
    task, _, kind = rest.partition(":")
    if prefix != "tutelage" or not _TASK.fullmatch(task) or kind not in tuple(Kind):
        raise ValueError(f"{stream!r} is no stream of the journal")
    return task, Kind(kind)


def stream_of(record: bytes) -> str | None:
    """The stream to which an encoded record belongs; None where it is no record of ours."""
    try:
        head = _head_decoder.decode(record)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return _stream_of(head.type, head.task)


@lru_cache(maxsize=1024)
def _stream_of(type_: str, task: str) -> str | None:
    kind = _KINDS.get(type_)
    return stream_name(task, kind) if kind is not None and _TASK.fullmatch(task) else None


def added_at(identifier: str) -> float:
    """When the entry with this id was added, in seconds since the epoch, by Redis' clock."""
    return int(identifier.partition("-")[0]) / 1000


def order_of(identifier: str) -> tuple[int, int]:
    """An entry's id as Redis orders it: milliseconds, and a count within them."""
    milliseconds, _, count = identifier.partition("-")
    return int(milliseconds), int(count)


def archived_field(stream: str, source: str) -> str:
    """The field of `tutelage:archived` that holds a source's position in a stream."""
    return f"{stream}|{source}"


async def result(answer: Any) -> Any:
    """redis-py types one client for both its synchronous and asynchronous use; this one is asynchronous."""
    return await answer


def by_stream(found: Any) -> dict[str, list[Entry]]:
    """What XREAD and XREADGROUP answer, by stream."""
    pairs: Iterable[Any] = found.items() if isinstance(found, dict) else found or ()
    return {text(stream): [to_entry(*item) for item in _flat(items)] for stream, items in pairs}


def _flat(items: Any) -> Iterable[Any]:
    """The entries of a stream; RESP3 wraps them in one more list."""
    return items[0] if items and isinstance(items[0], list) else items


def to_entry(identifier: bytes, fields: Mapping[bytes, bytes]) -> Entry:
    """An entry as redis-py reads it."""
    return Entry(
        text(identifier),
        fields[b"s"].decode(),
        end=int(fields[b"o"]),
        count=int(fields[b"n"]),
        batch=fields[b"b"],
        total=int(fields.get(b"c", 0)),
    )


def text(value: bytes | str) -> str:
    """A name or an id, whichever protocol redis-py speaks."""
    return value.decode() if isinstance(value, bytes) else value
