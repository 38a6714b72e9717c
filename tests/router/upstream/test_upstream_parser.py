import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import UpstreamError
from router.upstream.answer import MAX_ANSWER_BYTES, Response
from router.upstream.failures import BrokenOffError
from router.upstream.parser import AnswerParser
from tests.support.raw_upstream import STREAM_END, STREAM_HEAD, chunk, whole


def feed_again_and_again(parser: AnswerParser, piece: bytes) -> None:
    for _ in range(10_000):
        parser.feed(piece)


def read(*pieces: bytes) -> Response:
    parser = AnswerParser("the upstream")
    done = [parser.feed(piece) for piece in pieces]
    assert done == [False] * (len(pieces) - 1) + [True]
    return parser.response()


bodies = st.binary(max_size=200)


@given(
    st.lists(bodies.filter(len), max_size=5), st.lists(st.integers(1, 30), max_size=40), st.booleans(), st.booleans()
)
def test_an_answer_reads_the_same_however_it_is_cut(parts, cuts, chunked, informed):
    body = b"".join(parts)
    wire = STREAM_HEAD + b"".join(map(chunk, parts)) + STREAM_END if chunked else whole(body)
    if informed:
        wire = b"HTTP/1.1 100 Continue\r\nretry-after: 9\r\n\r\n" + wire
    parser, at = AnswerParser("the upstream"), 0
    for cut in [*cuts, len(wire)]:
        if wire[at : at + cut]:
            assert not parser.complete
            parser.feed(wire[at : at + cut])
        at += cut
    assert parser.complete
    assert parser.keep_alive
    kind = b"text/event-stream" if chunked else b"application/json"
    assert parser.response() == Response(200, {b"content-type": kind}, body)


@given(st.lists(bodies, max_size=6))
def test_rubbish_is_an_upstream_error_and_nothing_else(pieces):
    parser = AnswerParser("the upstream")
    try:
        for piece in pieces:
            parser.feed(piece)
    except UpstreamError as error:
        assert "the upstream" in error.message  # noqa: PT017  # it need not be raised
    assert not parser.complete


def test_only_headers_that_somebody_reads_are_kept():
    answer = read(
        whole(b"", b"429 Slow down", b"Retry-After: 3", b"X-Should-Retry: false", b"Set-Cookie: a=b", b"Empty:")
    )
    assert answer.status == 429
    assert answer.headers == {
        b"content-type": b"application/json",
        b"retry-after": b"3",
        b"x-should-retry": b"false",
    }


def test_trailers_change_nothing():
    trailer = b"0\r\nretry-after: 3\r\n\r\n"
    assert read(STREAM_HEAD + chunk(b"hi") + trailer).headers == {b"content-type": b"text/event-stream"}


def test_one_parser_reads_answer_after_answer():
    parser = AnswerParser("the upstream")
    for body in (b"one", b"two"):
        parser.expect(None)
        assert parser.feed(whole(body))
        assert parser.response().body == body


def test_what_follows_an_answer_spoils_the_connection_and_not_the_answer():
    for rest in (whole(b"two"), b"H", b"rubbish"):
        parser = AnswerParser("the upstream")
        assert parser.feed(whole(b"one") + rest)
        assert parser.response().body == b"one"
        assert not parser.keep_alive


def test_connection_close_is_heeded():
    parser = AnswerParser("the upstream")
    assert parser.feed(whole(b"one", b"200 OK", b"Connection: close"))
    assert not parser.keep_alive
    assert not parser.ends_with_connection


def test_a_body_without_length_ends_with_the_connection():
    parser = AnswerParser("the upstream")
    assert not parser.feed(b"HTTP/1.1 200 OK\r\nx-empty:\r\n\r\nhello")
    assert parser.ends_with_connection
    assert parser.response().body == b"hello"


@pytest.mark.parametrize("framed", [b"content-length: 9", b"transfer-encoding: chunked", b"transfer-encoding: gzip"])
def test_a_body_with_a_length_does_not(framed):
    parser = AnswerParser("the upstream")
    parser.feed(b"HTTP/1.1 200 OK\r\n" + framed + b"\r\n\r\n")
    assert not parser.ends_with_connection


@pytest.mark.parametrize(
    ("start", "more"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"x-filler: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n"),
        (b"HTTP/1.1 200 OK\r\nx-endless: ", b"a" * 100),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (STREAM_HEAD + chunk(b"hi") + b"5;extension=", b"a" * 100),
        (STREAM_HEAD + chunk(b"hi") + b"0\r\n", b"x-trailer: aaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n"),
    ],
    ids=["headers", "one header", "informational", "chunk extension", "trailers"],
)
def test_what_is_no_body_has_a_bound(start, more):
    parser = AnswerParser("the upstream")
    parser.feed(start)
    with pytest.raises(BrokenOffError, match="without end"):
        feed_again_and_again(parser, more)


def test_a_body_has_a_bound():
    parser = AnswerParser("the upstream")
    parser.feed(STREAM_HEAD)
    with pytest.raises(UpstreamError, match="larger than 16 MiB"):
        feed_again_and_again(parser, chunk(bytes(MAX_ANSWER_BYTES // 16)))


@pytest.mark.parametrize(
    "wire",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -3\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        STREAM_HEAD + b"xyz\r\n",
    ],
)
def test_what_is_not_http_is_said_so(wire):
    with pytest.raises(BrokenOffError, match="not HTTP"):
        AnswerParser("the upstream").feed(wire)
