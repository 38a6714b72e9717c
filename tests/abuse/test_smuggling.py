"""What two readers could understand in two ways is refused, and nothing that stands behind it is ever read."""

from __future__ import annotations

import pytest

from tests.abuse.house import House
from tests.support.errors import assert_refusal
from tests.support.raw_client import request

SMUGGLED = b"GET /v1/models HTTP/1.1\r\nhost: gateway\r\n\r\n"
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\n"
LATE = b"0\r\n\r\n" + SMUGGLED

REFUSED = {
    "chunks and a length": HEAD + b"transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n" + LATE,
    "a length and chunks": HEAD + b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n" + LATE,
    "two lengths": HEAD + b"content-length: 0\r\ncontent-length: 44\r\n\r\n" + SMUGGLED,
    "the same length twice": HEAD + b"content-length: 0\r\ncontent-length: 0\r\n\r\n" + SMUGGLED,
    "a list of lengths": HEAD + b"content-length: 0, 0\r\n\r\n" + SMUGGLED,
    "a length with a sign": HEAD + b"content-length: +0\r\n\r\n" + SMUGGLED,
    "a negative length": HEAD + b"content-length: -1\r\n\r\n" + SMUGGLED,
    "a length in hexadecimal": HEAD + b"content-length: 0x0\r\n\r\n" + SMUGGLED,
    "an empty length": HEAD + b"content-length: \r\n\r\n" + SMUGGLED,
    "a length beyond 64 bits": HEAD + b"content-length: 18446744073709551616\r\n\r\n" + SMUGGLED,
    "an unknown coding": HEAD + b"transfer-encoding: xchunked\r\n\r\n" + LATE,
    "chunks not last": HEAD + b"transfer-encoding: chunked, identity\r\n\r\n" + LATE,
    "chunked twice": HEAD + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n" + LATE,
    "a coding behind a control character": HEAD + b"transfer-encoding: \x0bchunked\r\n\r\n" + LATE,
    "a coding on a folded line": HEAD + b"transfer-encoding:\r\n chunked\r\n\r\n" + LATE,
    "a blank before the colon": HEAD + b"transfer-encoding : chunked\r\n\r\n" + LATE,
    "a folded header": HEAD + b"x: a\r\n b\r\ncontent-length: 0\r\n\r\n" + SMUGGLED,
    "bare line feeds": HEAD.replace(b"\r\n", b"\n") + b"content-length: 0\n\n" + SMUGGLED,
    "a bare carriage return": HEAD + b"x: a\rcontent-length: 44\r\n\r\n" + SMUGGLED,
    "a NUL in a header": HEAD + b"x: a\0b\r\ncontent-length: 0\r\n\r\n" + SMUGGLED,
    "a header without a name": HEAD + b": a\r\ncontent-length: 0\r\n\r\n" + SMUGGLED,
    "a chunk size that is none": HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n" + LATE,
    "a chunk size with 0x": HEAD + b"transfer-encoding: chunked\r\n\r\n0x0\r\n\r\n" + SMUGGLED,
    "a negative chunk size": HEAD + b"transfer-encoding: chunked\r\n\r\n-1\r\n" + LATE,
    "a chunk size beyond 64 bits": HEAD + b"transfer-encoding: chunked\r\n\r\n10000000000000000\r\n" + LATE,
    "a chunk longer than its size": HEAD + b"transfer-encoding: chunked\r\n\r\n1\r\nab\r\n" + LATE,
    "chunks between bare line feeds": HEAD + b"transfer-encoding: chunked\r\n\r\n0\n\n" + SMUGGLED,
    "an extension that ends with a line feed": HEAD + b"transfer-encoding: chunked\r\n\r\n0;a\n\r\n" + SMUGGLED,
    "a length among the trailers": HEAD
    + b"transfer-encoding: chunked\r\n\r\n0\r\ncontent-length: 44\r\n\r\n"
    + SMUGGLED,
    "chunks in HTTP/1.0": HEAD.replace(b"1.1", b"1.0") + b"transfer-encoding: chunked\r\n\r\n" + LATE,
    "HTTP/0.9": b"GET /v1/models\r\n\r\n" + SMUGGLED,
    "HTTP/1.9": HEAD.replace(b"1.1", b"1.9") + b"\r\n" + SMUGGLED,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SMUGGLED,
    "TLS": bytes.fromhex("16030100c8010000c40303") + SMUGGLED,
    "a method that is none": b"GIVE /v1/models HTTP/1.1\r\nhost: gateway\r\n\r\n" + SMUGGLED,
    "an address that is none": b"GET /v1/m\xc3\xb6dels HTTP/1.1\r\nhost: gateway\r\n\r\n" + SMUGGLED,
    "a tunnel": b"CONNECT elsewhere:443 HTTP/1.1\r\nhost: elsewhere\r\n\r\n" + SMUGGLED,
}


@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("piece", [None, 1], ids=["at once", "byte by byte"])
def test_what_can_be_read_in_two_ways_is_refused_and_nothing_behind_it_is_read(
    house: House, raw: bytes, piece: int | None
):
    pieces = [raw] if piece is None else [raw[at : at + piece] for at in range(0, len(raw), piece)]
    (answer,) = house.exchange(*pieces)
    assert answer.status == (405 if raw.startswith(b"CONNECT") else 400), answer
    assert answer.headers["connection"] == "close"
    error = assert_refusal(answer.status, answer.headers, answer.body)
    assert error["code"] in ("invalid_http", "method_not_allowed")


def test_trailers_do_not_pass_for_headers(house: House):
    chunks = b"1\r\n{\r\n0\r\n"
    head = HEAD + b"transfer-encoding: chunked\r\nconnection: close\r\n"
    (refused,) = house.exchange(head + b"\r\n" + chunks + house.authorization + b"\r\n\r\n")
    assert refused.status == 401
    trailers = b"authorization: Bearer tut-none\r\nx-request-id: smuggled\r\n\r\n"
    (let_in,) = house.exchange(head + house.authorization + b"\r\n\r\n" + chunks + trailers)
    assert let_in.status == 400
    assert let_in.json()["error"]["code"] == "invalid_json"
    assert let_in.headers["x-request-id"] != "smuggled"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models", "/v1/feedback"])
@pytest.mark.parametrize("second", [b"authorization: Bearer tut-other", None])
def test_two_keys_are_one_too_many(house: House, path: str, second: bytes | None):
    headers = (house.authorization, second or house.authorization, b"connection: close")
    body = None if path == "/v1/models" else b"{}"
    (answer,) = house.exchange(request(path, body, *headers))
    error = assert_refusal(answer.status, answer.headers, answer.body)
    assert (answer.status, error["code"]) == (400, "repeated_header")


@pytest.mark.parametrize("pause", [0.0, 0.02], ids=["one packet", "two packets"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/feedback"])
def test_an_offer_of_another_protocol_is_ignored_and_its_body_is_no_request(house: House, path: str, pause: float):
    offer = (b"connection: upgrade, http2-settings", b"upgrade: h2c", b"http2-settings: AAMAAABkAAQAAP__")
    raw = request(path, SMUGGLED, house.authorization, *offer)
    with house.connect() as client:
        client.send(raw[: -len(SMUGGLED)], raw[-len(SMUGGLED) :], pause=pause)
        client.send(house.chat("where is it", *offer))
        client.send(request("/healthz", None, b"connection: close"))
        refused, answered, well = client.read()
    assert (refused.status, refused.json()["error"]["code"]) == (400, "invalid_json")
    assert answered.json()["choices"][0]["message"]["content"] == "order_status"
    assert well.status == 200
