"""What an upstream answers, whole or in pieces, whichever way it was reached."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final, Protocol

import msgspec

from core.errors import UpstreamError

HeaderPairs = Sequence[tuple[bytes, bytes]]

MAX_ANSWER_BYTES: Final = 16 * 1024 * 1024
"""A whole answer larger than this is refused."""

KEPT_HEADERS: Final = frozenset(
    (b"content-type", b"retry-after", b"retry-after-ms", b"x-should-retry", b"x-request-id")
)
"""The headers of an answer that anybody here reads, in lower case; all others are dropped where they are parsed."""


class Response(msgspec.Struct, frozen=True, gc=False):
    """A whole answer. `headers` holds those of KEPT_HEADERS that it has, by their names in lower case."""

    status: int
    headers: Mapping[bytes, bytes]
    body: bytes


class Answer(ABC):
    """An answer whose head has come, and whose body is still on its way. For one reader."""

    __slots__ = ()

    status: int
    headers: Mapping[bytes, bytes]
    failed: bool
    """The upstream broke off or stalled before the end."""

    @abstractmethod
    def pieces(self) -> AsyncIterator[bytes]:
        """The body, in pieces, as they come. Whoever reads slowly slows the upstream down.

        Raises UpstreamError where it breaks off, DeadlineError where it stalls.
        """

    @abstractmethod
    def lift_deadline(self) -> None:
        """From now on the read time-out alone counts: the answer is on its way to the client."""

    @abstractmethod
    async def close(self) -> None:
        """End it. An answer that is not complete is cancelled at once, so that the upstream can stop working."""

    async def read(self) -> bytes:
        """Read the body to its end. Raises as `pieces` does, and UpstreamError past MAX_ANSWER_BYTES."""
        found: list[bytes] = []
        size = 0
        async for piece in self.pieces():
            size += len(piece)
            if size > MAX_ANSWER_BYTES:
                raise too_large()
            found.append(piece)
        return b"".join(found)


class Endpoint(Protocol):
    """One base URL of an upstream, with its connections.

    `deadline` is a time of the event loop; infinity: none. What is raised stands in `failures`.
    """

    async def request(self, method: bytes, path: bytes, body: bytes, headers: HeaderPairs, deadline: float) -> Response:
        """Send a request and return the whole answer."""
        ...

    async def open(self, method: bytes, path: bytes, body: bytes, headers: HeaderPairs, deadline: float) -> Answer:
        """Send a request and return its answer as soon as the head is there; the caller closes it."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


def too_large() -> UpstreamError:
    """The error for an answer beyond all measure."""
    return UpstreamError(f"the upstream's answer is larger than {MAX_ANSWER_BYTES >> 20} MiB, the most that is read")
