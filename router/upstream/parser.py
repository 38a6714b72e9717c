"""Reading answers off a connection's bytes: httptools' parser, with bounds on everything.

The same parser reads one answer after another, since making one costs half as much as reading one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

import httptools

from core.errors import ApiError
from router.upstream.answer import KEPT_HEADERS, MAX_ANSWER_BYTES, Response, too_large
from router.upstream.failures import BrokenOffError

_MAX_SILENT_BYTES: Final = 64 * 1024
"""Bytes in a row that are not body: a head, trailers, chunk extensions."""

_FRAMING: Final = frozenset((b"content-length", b"transfer-encoding"))


class Sink(Protocol):
    """Whoever takes a body in pieces."""

    def push(self, data: bytes) -> None:
        """Take a piece."""
        ...


Opened = Callable[[int, dict[bytes, bytes]], Sink]
"""Called with status and headers once a head is complete; says where the body goes."""


class AnswerParser:
    """Reads the answers of one connection. `name` stands for the upstream in error messages."""

    __slots__ = (
        "_framed", "_headers", "_in_body", "_name", "_opened", "_parser", "_pieces", "_silent", "_sink", "_size",
        "_status", "complete", "keep_alive",
    )  # fmt: skip

    def __init__(self, name: str) -> None:
        self._name = name
        self._parser = httptools.HttpResponseParser(self)
        self.expect(None)

    def expect(self, opened: Opened | None) -> None:
        """Get ready for the next answer: in pieces, to what `opened` returns, or, where it is None, as a whole."""
        self._opened = opened
        self._sink: Sink | None = None
        self._headers: dict[bytes, bytes] = {}
        self._pieces: list[bytes] = []
        self._status = self._size = self._silent = 0
        self._framed = self._in_body = False
        self.complete = False
        """The answer has been read to its end."""
        self.keep_alive = False
        """The connection may be used again after it."""

    def feed(self, data: bytes) -> bool:
        """Read on; True once the answer is complete. What stands behind its end spoils the connection.

        Raises BrokenOffError where it is not HTTP or has no end, UpstreamError where it is too large.
        """
        self._silent += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.keep_alive = False
            if not self.complete:
                raise self._meaning(error) from error
        if self._silent > _MAX_SILENT_BYTES and not self.complete:
            raise BrokenOffError(f"{self._name} sent a head without end")
        return self.complete

    @property
    def begun(self) -> bool:
        """Something of the answer has come."""
        return self._silent > 0 or self._size > 0

    @property
    def ends_with_connection(self) -> bool:
        """The body has neither a length nor chunks: it is complete when the connection is closed."""
        return self._in_body and not self._framed

    def response(self) -> Response:
        """The whole answer."""
        pieces = self._pieces
        return Response(self._status, self._headers, pieces[0] if len(pieces) == 1 else b"".join(pieces))

    def close(self) -> None:
        """Let go of httptools' parser, which holds our methods: the cycle would wait for the garbage collector."""
        del self._parser
        self._opened = self._sink = None

    def _meaning(self, error: Exception) -> ApiError:
        cause = error.__context__  # what a callback of ours has raised
        if isinstance(cause, ApiError):
            return cause
        return BrokenOffError(f"{self._name} answered with something that is not HTTP ({error})")

    # httptools' callbacks

    def on_message_begin(self) -> None:
        """Refuse what stands behind the end of an answer."""
        if self.complete:
            raise BrokenOffError(f"{self._name} sent more than one answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep the headers that are read. A trailer changes nothing any more."""
        name = name.lower()
        if name in KEPT_HEADERS:
            if not self._in_body:
                self._headers[name] = value
        elif name in _FRAMING:
            self._framed = True

    def on_headers_complete(self) -> None:
        """Say where the body goes, unless this is a 1xx, after which the head proper comes."""
        self._status = self._parser.get_status_code()
        if self._status < 200:
            return
        self._in_body = True
        if self._opened is not None:
            self._sink = self._opened(self._status, self._headers)

    def on_body(self, data: bytes) -> None:
        """Take a piece of the body."""
        self._silent = 0
        self._size += len(data)
        if self._sink is not None:
            self._sink.push(data)
        elif self._size <= MAX_ANSWER_BYTES:
            self._pieces.append(data)
        else:
            raise too_large()

    def on_message_complete(self) -> None:
        """The end, unless it was a 1xx."""
        if self._in_body:
            self.complete = True
            self.keep_alive = self._parser.should_keep_alive()  # it knows only while it is calling us
        else:
            self._headers = {}
            self._framed = False
