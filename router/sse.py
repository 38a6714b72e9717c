"""Server-sent events, cut out of a byte stream as it arrives. What an event holds is not altered.

Lines may end with LF, CR LF or CR alone, as the WHATWG's standard has it; they go on with LF.
"""

from __future__ import annotations

from typing import Final

from core.errors import UpstreamError

_MAX_EVENT_BYTES: Final = 1024 * 1024
_BOM: Final = b"\xef\xbb\xbf"
_LF: Final = 10


class EventSplitter:
    """Cuts complete events, with their closing blank line, out of pieces of any size."""

    __slots__ = ("_after_cr", "_begun", "_pieces", "_size")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0
        self._after_cr = False
        self._begun = False

    def feed(self, piece: bytes) -> list[bytes]:
        """Return the events that `piece` completes. Raises UpstreamError where one grows beyond all measure."""
        if self._after_cr or b"\r" in piece:
            piece = self._with_line_feeds(piece)
        if not self._begun and piece:
            self._begun = True
            piece = piece.removeprefix(_BOM)
        if not self._pieces:
            end = piece.find(b"\n\n")
            if 0 < end == len(piece) - 2 and piece[0] != _LF:
                return [piece]  # the usual case: one event, and whole
        elif b"\n\n" not in piece and not (piece.startswith(b"\n") and self._pieces[-1].endswith(b"\n")):
            return self._keep(piece)
        *events, rest = b"".join((*self._pieces, piece)).split(b"\n\n")
        self._pieces.clear()
        self._size = 0
        found = [event + b"\n\n" for event in (event.lstrip(b"\n") for event in events) if event]
        self._keep(rest)
        return found

    @property
    def rest(self) -> bytes:
        """What has come of an event that is not complete."""
        return b"".join(self._pieces)

    def _keep(self, piece: bytes) -> list[bytes]:
        if piece:
            self._pieces.append(piece)
            self._size += len(piece)
            if self._size > _MAX_EVENT_BYTES:
                raise UpstreamError("the upstream's stream holds an event of more than a mebibyte")
        return []

    def _with_line_feeds(self, piece: bytes) -> bytes:
        """End all lines with LF. A CR at the end counts at once; the LF that may follow it is left out."""
        if self._after_cr and piece:
            piece = piece.removeprefix(b"\n")
            self._after_cr = False
        self._after_cr = self._after_cr or piece.endswith(b"\r")
        return piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def data_of(event: bytes) -> bytes | None:
    """Return the data of an event; None for a comment or an event without data."""
    if event.startswith(b"data:") and event.find(b"\n") == len(event) - 2:  # the usual case: a single line
        return event[5:].strip()
    lines = [line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(lines) if lines else None
