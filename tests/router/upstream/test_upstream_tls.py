import asyncio
import contextlib
import zlib
from math import inf

import pytest

from core.errors import DeadlineError, SettingsError, UpstreamError
from core.settings import Timeouts
from router.upstream.failures import BrokenOffError, ConnectError, UpstreamTimeoutError
from router.upstream.tls import TlsClient
from tests.support.certificates import make_certificate
from tests.support.raw_upstream import (
    STREAM_END,
    STREAM_HEAD,
    Conversation,
    answering,
    chunk,
    raw_upstream,
    whole,
)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def tls_upstream(certificate, monkeypatch):
    """Runs a TLS upstream whose certificate is trusted, and a client towards it."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.file))

    @contextlib.asynccontextmanager
    async def run(behave, **times):
        async with raw_upstream(behave, tls=certificate.server) as upstream:
            client = TlsClient(
                "the teacher", upstream.url + "/v1/", Timeouts(**({"read": 1.0, "connect": 1.0} | times))
            )
            try:
                yield client, upstream
            finally:
                await client.close()

    return run


def ask(client, body=b"{}", headers=(), deadline=inf):
    return client.request(b"POST", b"/chat/completions", body, headers, deadline)


async def test_a_request_and_its_answer(tls_upstream):
    async with tls_upstream(answering(whole(b'{"a":1}', b"200 OK", b"X-Request-Id: r1", b"set-cookie: a=b"))) as (
        client,
        upstream,
    ):
        response = await ask(client, b"hello", ((b"authorization", b"Bearer secret"),))
        await ask(client)
    assert (response.status, response.body) == (200, b'{"a":1}')
    assert response.headers == {b"content-type": b"application/json", b"x-request-id": b"r1"}
    first = upstream.requests[0].lower()
    assert first.startswith(b"post /v1/chat/completions http/1.1\r\n")
    assert b"authorization: bearer secret\r\n" in first
    assert b"accept-encoding: identity\r\n" in first
    assert first.endswith(b"\r\n\r\nhello")
    assert b"authorization" not in upstream.requests[1].lower()
    assert upstream.connections == 1


async def test_pieces_come_as_they_are_sent(tls_upstream):
    turn = asyncio.Event()

    async def behave(conversation: Conversation):
        await conversation.hear()
        await conversation.say(STREAM_HEAD)
        for number in range(3):
            await turn.wait()
            turn.clear()
            await conversation.say(chunk(b"event %d" % number))
        await conversation.say(STREAM_END)
        await conversation.until_hung_up()

    async with tls_upstream(behave) as (client, _):
        answer = await client.open(b"POST", b"/chat/completions", b"{}")
        found = []
        turn.set()
        async for piece in answer.pieces():
            found.append(piece)
            turn.set()
        await answer.close()
    assert found == [b"event 0", b"event 1", b"event 2"]


async def test_closing_an_answer_cancels_the_upstream(tls_upstream):
    async def behave(conversation: Conversation):
        await conversation.hear()
        await conversation.say(STREAM_HEAD, chunk(b"x"))
        await conversation.until_hung_up()

    async with tls_upstream(behave) as (client, upstream):
        answer = await client.open(b"POST", b"/chat/completions", b"{}")
        assert await anext(answer.pieces()) == b"x"
        await answer.close()
        await asyncio.wait_for(upstream.hung_up.wait(), 2)
        assert not answer.failed


async def silence(conversation: Conversation):
    await conversation.hear()
    await conversation.until_hung_up()


async def test_who_is_cancelled_hangs_up(tls_upstream):
    async with tls_upstream(silence) as (client, upstream):
        task = asyncio.create_task(ask(client))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(upstream.hung_up.wait(), 2)


async def test_times_and_deadlines(tls_upstream):
    async with tls_upstream(silence, read=0.1) as (client, _):
        with pytest.raises(UpstreamTimeoutError, match=r"the teacher sent nothing for 0.1 s"):
            await ask(client)
    async with tls_upstream(silence) as (client, _):
        with pytest.raises(DeadlineError) as caught:
            await ask(client, deadline=asyncio.get_running_loop().time() + 0.1)
        assert not isinstance(caught.value, UpstreamTimeoutError)


async def test_a_stream_ends_at_its_deadline_unless_it_is_lifted(tls_upstream):
    async def behave(conversation: Conversation):
        await conversation.hear()
        await conversation.say(STREAM_HEAD, *[chunk(b"x")] * 6, STREAM_END, pause=0.05)

    async with tls_upstream(behave) as (client, _):
        loop = asyncio.get_running_loop()
        answer = await client.open(b"POST", b"/chat/completions", b"{}", (), loop.time() + 0.15)
        with pytest.raises(DeadlineError):
            await answer.read()
        assert not answer.failed
        await answer.close()
        answer = await client.open(b"POST", b"/chat/completions", b"{}", (), loop.time() + 0.15)
        answer.lift_deadline()
        assert await answer.read() == b"xxxxxx"
        await answer.close()


@pytest.mark.parametrize("said", [b"", b"rubbish\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"])
async def test_whoever_breaks_off_is_not_asked_again(tls_upstream, said):
    async def behave(conversation: Conversation):
        await conversation.hear()
        await conversation.say(said)

    async with tls_upstream(behave) as (client, upstream):
        with pytest.raises(BrokenOffError, match="the teacher broke off"):
            await ask(client)
        assert len(upstream.requests) == 1


async def test_a_kept_connection_that_was_closed_is_replaced(tls_upstream):
    async def behave(conversation: Conversation):
        await conversation.hear()
        await conversation.say(whole(b"%d" % conversation.number))
        await conversation.hear()

    async with tls_upstream(behave) as (client, _):
        assert [(await ask(client)).body for _ in range(3)] == [b"1", b"2", b"3"]


async def test_a_certificate_that_nobody_trusts_and_a_closed_port(certificate, free_port, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    async with raw_upstream(answering(whole()), tls=certificate.server) as upstream:
        for url in (upstream.url, f"https://127.0.0.1:{free_port}"):
            client = TlsClient("the teacher", url, Timeouts(connect=1.0))
            with pytest.raises(ConnectError, match="the teacher cannot be reached"):
                await ask(client)
            await client.close()


def test_addresses_that_cannot_be_used():
    for url in ("http://host", "https://user:secret@host", "https://"):
        with pytest.raises(SettingsError) as caught:
            TlsClient("the teacher", url, Timeouts())
        assert "secret" not in str(caught.value)


async def test_a_packed_answer_is_refused_and_never_unpacked(tls_upstream):
    bomb = zlib.compress(b" " * 50_000_000, 9, 31)
    async with tls_upstream(answering(whole(bomb, b"200 OK", b"content-encoding: gzip"))) as (client, _):
        with pytest.raises(UpstreamError, match="packed"):
            await ask(client)


@pytest.mark.parametrize("status", [b"301 Moved", b"307 Temporary Redirect"])
async def test_nobody_is_sent_elsewhere(tls_upstream, status):
    async with tls_upstream(answering(whole(b"{}", status, b"location: https://127.0.0.1:9/v1"))) as (client, upstream):
        response = await ask(client)
        assert response.status in (301, 307)
        assert len(upstream.requests) == 1
