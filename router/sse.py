"""Server-sent events, cut out of a byte stream as it arrives. No event is altered: what came is what goes on."""

from __future__ import annotations

from core.errors import UpstreamError

_MAX_EVENT_BYTES = 1024 * 1024


class EventSplitter:
    """Cuts complete events, with their closing blank line, out of pieces of any size."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> list[bytes]:
        """Return the events that `piece` completes. Raises UpstreamError where one grows beyond all measure."""
        data = (self._rest + piece).replace(b"\r\n", b"\n")
        *events, self._rest = data.split(b"\n\n")
        if len(self._rest) > _MAX_EVENT_BYTES:
            raise UpstreamError("the teacher's stream holds an event of more than a mebibyte")
        return [event + b"\n\n" for event in events if event.strip()]

    @property
    def rest(self) -> bytes:
        """What has come of an event that is not complete."""
        return self._rest


def data_of(event: bytes) -> bytes | None:
    """Return the data of an event; None for a comment or an event without data."""
    lines = [line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(lines) if lines else None
