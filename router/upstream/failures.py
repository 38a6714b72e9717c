"""How an upstream can fail, as the retry rules need to tell it apart.

ApiError
├── UpstreamError
│   ├── ConnectError          no connection could be made: nothing was sent
│   └── BrokenOffError        it broke off, or answered with something that is not HTTP
├── DeadlineError             the request's own deadline passed
│   └── UpstreamTimeoutError  one of the upstream's time-outs passed
└── UnavailableError
    └── NoConnectionError     every connection was in use for too long: nothing was sent
"""

from __future__ import annotations

from core.errors import DeadlineError, UnavailableError, UpstreamError


class ConnectError(UpstreamError):
    """No connection could be made. Nothing was sent, so nothing can happen twice."""


class BrokenOffError(UpstreamError):
    """The upstream closed the connection, or what it sent is not HTTP.

    `answered`: some of an answer had come. `after`: seconds since the request was sent.
    """

    def __init__(self, message: str, *, answered: bool = True, after: float = 0.0) -> None:
        super().__init__(message)
        self.answered = answered
        self.after = after


class UpstreamTimeoutError(DeadlineError):
    """The upstream kept us waiting beyond one of its time-outs."""


class NoConnectionError(UnavailableError):
    """The pool had no connection to give in time. Nothing was sent."""


OUTAGES = (ConnectError, BrokenOffError, UpstreamTimeoutError)
"""What counts against an upstream. A deadline that was the request's own, or a pool that is too small, does not."""
