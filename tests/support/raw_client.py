"""A client for tests that sends exactly the bytes it is told, and reads every answer that comes back."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Self

import httptools


@dataclass
class Answer:
    """One whole answer."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    complete: bool = False

    def json(self) -> Any:
        return json.loads(self.body)


class _Reader:
    """What httptools tells, as answers."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.parser = httptools.HttpResponseParser(self)

    def on_message_begin(self) -> None:
        self.answers.append(Answer())

    def on_header(self, name: bytes, value: bytes) -> None:
        self.answers[-1].headers[name.decode().lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.answers[-1].status = self.parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        self.answers[-1].body += body

    def on_message_complete(self) -> None:
        self.answers[-1].complete = True


class RawClient:
    """One connection."""

    def __init__(self, url: str, *, seconds: float = 10.0, receive_buffer: int | None = None) -> None:
        host, port = url.removeprefix("http://").split(":")
        self._socket = socket.socket()
        if receive_buffer is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.settimeout(seconds)
        self._socket.connect((host, int(port)))
        self._reader = _Reader()
        self.closed = False
        """The gateway has closed the connection."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._socket.close()

    def send(self, *pieces: bytes, pause: float = 0.0) -> bool:
        """Send pieces, each in a packet of its own where there is a pause; False: the gateway takes no more."""
        try:
            for piece in pieces:
                self._socket.sendall(piece)
                if pause:
                    time.sleep(pause)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def trickle(self, pieces: Iterable[bytes], *, pause: float) -> list[Answer]:
        """Send pieces with pauses until the gateway has had enough; what it answered."""
        for piece in pieces:
            self.send(piece)
            self.read(seconds=pause)
            if self.closed:
                break
        return self.answers

    def read(self, count: int | None = None, *, seconds: float = 10.0) -> list[Answer]:
        """Read until there are `count` whole answers, the connection is closed, or the time is over."""
        deadline = time.monotonic() + seconds
        while not self.closed and (count is None or sum(answer.complete for answer in self.answers) < count):
            left = deadline - time.monotonic()
            if left <= 0:
                break
            self._socket.settimeout(left)
            try:
                data = self._socket.recv(65536)
            except TimeoutError:
                break
            except ConnectionResetError:
                data = b""
            if data:
                self._reader.parser.feed_data(data)
            else:
                self.closed = True
        return self.answers

    def read_some(self) -> None:
        """Read a little of what has come."""
        data = self._socket.recv(16384)
        self._reader.parser.feed_data(data)
        self.closed = not data

    @property
    def answers(self) -> list[Answer]:
        """What has come so far; the last may be incomplete."""
        return self._reader.answers


def request(
    path: str = "/v1/chat/completions", body: bytes | None = None, *headers: bytes, method: str | None = None
) -> bytes:
    """A well-formed request."""
    verb = method or ("GET" if body is None else "POST")
    lines = [f"{verb} {path} HTTP/1.1".encode(), b"host: gateway", *headers]
    if body is not None:
        lines.append(b"content-length: %d" % len(body))
    return b"\r\n".join((*lines, b"", b"")) + (body or b"")
