"""An upstream for tests that misbehaves in every way it can: as a teacher by its address, as a student by the model.

It runs in a thread. `http://…/NAME/v1/…` is a teacher that behaves as BEHAVIOURS[NAME] says; at `http://…/v1/…` it is a
student whose every task behaves as the one of BEHAVIOURS that it is called after.
"""

from __future__ import annotations

import asyncio
import json
import threading
import zlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.support.raw_upstream import STREAM_HEAD, Conversation, chunk, raw_upstream, whole

Behaviour = Callable[[Conversation, bytes], Awaitable[None]]

PIECE = {
    "id": "x",
    "object": "chat.completion.chunk",
    "choices": [{"index": 0, "delta": {"content": "piece"}, "text": "piece"}],
    "type": "response.output_text.delta",
    "delta": "piece",
}
"""The first event of a stream, in all dialects at once."""

COMPLETION: dict[str, Any] = {
    "id": "x",
    "object": "response",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "praise"}, "text": "praise"}],
    "output": [],
    "data": [],
}
"""A whole answer, in all dialects at once."""


def event(document: Any) -> bytes:
    return chunk(b"data: " + json.dumps(document).encode() + b"\n\n")


def saying(*pieces: bytes) -> Behaviour:
    """Say this and hang up."""

    async def behave(conversation: Conversation, request: bytes) -> None:
        await conversation.say(*pieces)

    return behave


def breaking(*pieces: bytes) -> Behaviour:
    """The same, with a pause behind each piece, so that what came before is on its way."""

    async def behave(conversation: Conversation, request: bytes) -> None:
        await conversation.say(*pieces, pause=0.05)

    return behave


def going_on(head: bytes, piece: bytes, pause: float = 0.0) -> Behaviour:
    """Say `head`, then `piece` for ever."""

    async def behave(conversation: Conversation, request: bytes) -> None:
        await conversation.say(head)
        while True:
            await conversation.say(piece)
            await asyncio.sleep(pause)

    return behave


def falling_silent(*pieces: bytes) -> Behaviour:
    """Say this and no more."""

    async def behave(conversation: Conversation, request: bytes) -> None:
        await conversation.say(*pieces)
        await conversation.until_hung_up()

    return behave


async def echo(conversation: Conversation, request: bytes) -> None:
    """Refuse, and repeat all that was sent, its key included."""
    told = {"error": {"message": request.decode("latin-1"), "type": "bad", "param": request.decode("latin-1")}}
    await conversation.say(whole(json.dumps(told).encode(), b"400 Bad Request"))


async def echo_in_stream(conversation: Conversation, request: bytes) -> None:
    """The same, within a stream."""
    told = {"error": {"message": request.decode("latin-1")[-400:] + request.decode("latin-1")[:400]}, "type": "error"}
    await conversation.say(STREAM_HEAD, event(PIECE), event(told), pause=0.05)


def _usage(count: int) -> bytes:
    usage = {"prompt_tokens": count, "completion_tokens": count, "input_tokens": count, "output_tokens": count}
    return whole(json.dumps(COMPLETION | {"usage": usage}).encode())


def _error(body: bytes, status: bytes = b"400 Bad Request", *headers: bytes) -> bytes:
    return whole(body, status, *headers)


_BOMB = zlib.compress(b" " * 20_000_000, 9, 31)
_OK = b"HTTP/1.1 200 OK\r\n"
_JSON = b"content-type: application/json\r\n"
_CHUNKED = _OK + _JSON + b"transfer-encoding: chunked\r\n\r\n"
_VENDOR = {"version": "v", "label": "praise", "confidence": 2.0, "label_set": "x", "distribution": "!!!", "vector": "~"}

BAD: dict[str, Behaviour] = {
    "noise": saying(b"\x00\xff\xfe noise\r\n\r\n"),
    "tls": saying(bytes.fromhex("15030100020246")),
    "nothing": saying(),
    "half-a-status": saying(b"HTTP/1.1 2"),
    "half-a-head": saying(_OK + b"content-ty"),
    "html": saying(whole(b"<html>it works</html>", b"200 OK", b"x: y")),
    "empty": saying(whole(b"")),
    "no-content": saying(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "not-modified": saying(b"HTTP/1.1 304 Not Modified\r\n\r\n"),
    "another-protocol": saying(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"),
    "half-a-chunk": saying(_CHUNKED + b'ff\r\n{"id":'),
    "no-last-chunk": saying(_CHUNKED + chunk(json.dumps(COMPLETION).encode())),
    "no-chunk": saying(_CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n"),
    "short": saying(_OK + _JSON + b"content-length: 1000\r\n\r\n{}"),
    "long": saying(_OK + _JSON + b"content-length: 1\r\n\r\n" + json.dumps(COMPLETION).encode()),
    "no-length": saying(_OK + _JSON + b"content-length: many\r\n\r\n{}"),
    "two-lengths": saying(_OK + _JSON + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}"),
    "length-and-chunks": saying(_OK + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"),
    "bomb": saying(whole(_BOMB, b"200 OK", b"content-encoding: gzip")),
    "deep": saying(whole(b'{"choices":' + b"[" * 100_000)),
    "null-choices": saying(whole(b'{"choices": null, "output": 3, "data": null}')),
    "wrong-types": saying(whole(b'{"choices": [{"message": 3, "text": {}}], "output": {}, "data": 3}')),
    "invalid-utf8": saying(whole(b'{"choices": [{"message": {"content": "\xff"}, "text": "\xff"}], "id": "\xff"}')),
    "status-999": saying(whole(b"{}", b"999 Beyond")),
    "status-600": saying(whole(b"{}", b"600 Beyond")),
    "endless-head": going_on(_OK, b"x: " + b"y" * 1000 + b"\r\n"),
    "endless-header": going_on(_OK + b"x: ", b"y" * 1000),
    "endless-continue": going_on(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    "endless-body": going_on(_CHUNKED, chunk(b" " * 60_000)),
    "endless-extension": going_on(_CHUNKED + b"1;", b"y" * 1000),
    "key-refused": saying(whole(b'{"error": {"message": "Incorrect API key: sk-mark...4b5a"}}', b"401 Unauthorized")),
    "forbidden": saying(whole(b'{"error": {"message": "not in your country"}}', b"403 Forbidden")),
}
"""Who behaves like this has not answered, and that is told at once: 502."""

REDIRECTS = {f"redirect-{status}": f"{status} Elsewhere".encode() for status in (301, 302, 303, 307, 308)}
"""Who behaves like this sends the client elsewhere, where nobody must go: 502."""

LATE: dict[str, Behaviour] = {
    "silence": falling_silent(),
    "silence-after-head": falling_silent(_CHUNKED),
    "drops-of-head": going_on(_OK, b"x", 0.05),
    "drops-of-body": going_on(_CHUNKED, chunk(b" "), 0.05),
}
"""Who behaves like this keeps everybody waiting: 504, when the request's time is over."""

REFUSING: dict[str, tuple[Behaviour, int]] = {
    "echo": (echo, 400),
    "teapot": (saying(_error(b"short and stout", b"418 I'm a teapot")), 418),
    "text-error": (saying(_error(b'{"error": "a text"}')), 400),
    "number-error": (saying(_error(b'{"error": {"message": 3, "type": 4, "param": [], "code": {}}}')), 400),
    "null-error": (saying(_error(b'{"error": {"message": null}}')), 400),
    "long-error": (saying(_error(json.dumps({"error": {"message": "x" * 1_000_000}}).encode())), 400),
    "fastapi-error": (saying(_error(b'{"detail": [{"loc": ["body"]}]}', b"422 Unprocessable Entity")), 422),
    "deep-error": (saying(_error(b'{"error":' * 10_000, b"500 Internal Server Error")), 500),
    "html-error": (saying(_error(b"<html>", b"503 Service Unavailable", b"retry-after: \xff; drop")), 503),
    "status-599": (saying(_error(b"{}", b"599 Strange")), 599),
}
"""Who behaves like this has refused, with a status that the client gets too."""

ODD: dict[str, Behaviour] = {
    "huge-usage": saying(_usage(10**400)),
    "negative-usage": saying(_usage(-5)),
    "vendor": saying(whole(json.dumps(COMPLETION | {"tutelage": _VENDOR}).encode())),
    "vendor-anywhere": saying(whole(json.dumps({"tutelage": _VENDOR} | COMPLETION | {"usage": None}).encode())),
    "vendor-twice": saying(
        whole(json.dumps(COMPLETION | {"tutelage": _VENDOR, "x": {"a": 1, "tutelage": 1}}).encode())
    ),
    "continue-first": saying(b"HTTP/1.1 100 Continue\r\n\r\n" + whole(json.dumps(COMPLETION).encode())),
    "until-closed": saying(_OK + _JSON + b"\r\n" + json.dumps(COMPLETION).encode()),
}
"""Who behaves like this has answered, however oddly."""

STREAM_BAD: dict[str, Behaviour] = {
    "stream-noise": saying(STREAM_HEAD, chunk(b"data: noise\n\n")),
    "stream-array": saying(STREAM_HEAD, event([1, 2])),
    "stream-null": saying(STREAM_HEAD, event({"choices": None, "type": 3})),
    "stream-deep": saying(STREAM_HEAD, chunk(b"data: " + b"[" * 100_000 + b"\n\n")),
    "stream-nothing": saying(STREAM_HEAD, b"0\r\n\r\n"),
    "stream-half": saying(STREAM_HEAD, b"ff\r\ndata: {"),
    "stream-endless-event": going_on(STREAM_HEAD, chunk(b"data: " + b"x" * 60_000)),
    "stream-bomb": saying(STREAM_HEAD.replace(b"\r\n\r\n", b"\r\ncontent-encoding: gzip\r\n\r\n"), chunk(_BOMB)),
    "stream-html": saying(_OK + b"content-type: text/html\r\ncontent-length: 6\r\n\r\n<html>"),
}
"""A stream that is none: 502, since nothing of it has gone out."""

STREAM_LATE: dict[str, Behaviour] = {
    "stream-silence": falling_silent(STREAM_HEAD),
    "stream-comments": going_on(STREAM_HEAD, chunk(b": still here\n\n"), 0.05),
    "stream-drops": going_on(STREAM_HEAD, chunk(b"d"), 0.05),
}
"""A stream that does not begin: 504."""

STREAM_CUT: dict[str, Behaviour] = {
    "cut": breaking(STREAM_HEAD, event(PIECE)),
    "cut-in-a-chunk": breaking(STREAM_HEAD, event(PIECE), b"ff\r\ndata: {"),
    "cut-by-the-end": breaking(STREAM_HEAD, event(PIECE), b"0\r\n\r\n"),
    "cut-by-noise": breaking(STREAM_HEAD, event(PIECE), b"noise\r\n\r\n"),
    "cut-by-rubbish": breaking(STREAM_HEAD, event(PIECE), chunk(b"data: rubbish\n\n")),
    "cut-by-utf8": breaking(STREAM_HEAD, event(PIECE), chunk(b'data: {"id": "\xff"}\n\n'), event([])),
    "cut-by-an-error": breaking(STREAM_HEAD, event(PIECE), event({"error": {"message": "out of memory"}})),
    "cut-by-an-echo": echo_in_stream,
    "cut-by-silence": falling_silent(STREAM_HEAD, event(PIECE)),
    "cut-by-an-endless-event": going_on(STREAM_HEAD + event(PIECE), chunk(b"x" * 60_000)),
    "cut-by-usage": breaking(STREAM_HEAD, event(PIECE), event(PIECE | {"usage": {"prompt_tokens": "many"}}), event([])),
    "cut-after-huge-usage": breaking(
        STREAM_HEAD, event(PIECE | {"usage": {"prompt_tokens": 10**400, "completion_tokens": -1}})
    ),
    "cut-after-a-vendor": breaking(
        STREAM_HEAD,
        event(PIECE | {"tutelage": _VENDOR}),
        chunk(b'data: {"id": "x",\ndata: "tutelage": null}\n\n'),
    ),
}
"""A stream that breaks off behind its first event: an error event ends it."""

BEHAVIOURS: dict[str, Behaviour] = {
    **BAD,
    **LATE,
    **{name: behave for name, (behave, _) in REFUSING.items()},
    **ODD,
    **STREAM_BAD,
    **STREAM_LATE,
    **STREAM_CUT,
}


@dataclass
class RudeUpstream:
    """Where it is, and what was asked at the address to which it redirects."""

    url: str = ""
    port: int = 0
    followed: list[bytes] = field(default_factory=list)


@contextmanager
def rude_upstream() -> Iterator[RudeUpstream]:
    """Serve from a thread on a free loopback port."""
    rude = RudeUpstream()
    started, stop = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with raw_upstream(lambda conversation: _behave(conversation, rude)) as seen:
            rude.url = seen.url
            rude.port = int(seen.url.rsplit(":", 1)[1])
            started.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield rude
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


async def _behave(conversation: Conversation, rude: RudeUpstream) -> None:
    while True:
        try:
            head = await conversation.reader.readuntil(b"\r\n\r\n")
            lines = head.lower().split(b"\r\n")
            length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
            body = await conversation.reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        path = head.split(b" ")[1].decode()
        if path == "/v1/models":
            served = [{"id": name, "tutelage": {"champion": "v1"}} for name in (*BEHAVIOURS, *REDIRECTS)]
            await conversation.say(whole(json.dumps({"data": served}).encode()))
            continue
        if path.endswith("/models"):
            await conversation.say(whole(b'{"data": []}'))
            continue
        name = json.loads(body)["model"] if path.startswith("/v1/") else path.split("/")[1]
        if name == "elsewhere":
            rude.followed.append(head)
        if name in REDIRECTS:
            where = f"location: {rude.url}/elsewhere/v1/chat/completions".encode()
            await conversation.say(whole(b"{}", REDIRECTS[name], where))
            continue
        await BEHAVIOURS[name](conversation, head + body)
        return
