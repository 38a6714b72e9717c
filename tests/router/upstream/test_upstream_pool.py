import asyncio
import contextlib
import gc
import socket
from math import inf

import pytest

from core.errors import DeadlineError, SettingsError, UpstreamError
from core.settings import Timeouts
from router.upstream.failures import BrokenOffError, ConnectError, NoConnectionError, UpstreamTimeoutError
from router.upstream.pool import Http1Pool
from tests.support.raw_upstream import (
    STREAM_END,
    STREAM_HEAD,
    Conversation,
    answering,
    chunk,
    raw_upstream,
    whole,
)

TIMES = Timeouts(connect=1.0, read=1.0, write=1.0, pool=1.0)


@contextlib.asynccontextmanager
async def pooled(behave, *, timeouts=TIMES, limit=512):
    """A raw upstream and a pool towards it."""
    async with raw_upstream(behave) as upstream:
        pool = Http1Pool("the student", upstream.url + "/base/", timeouts, limit=limit)
        try:
            yield pool, upstream
        finally:
            await pool.close()


def ask(pool, body=b"{}", **more):
    return pool.request(b"POST", b"/v1/x", body, **more)


async def test_a_request_and_its_answer():
    async with pooled(answering(whole(b'{"a":1}'))) as (pool, upstream):
        response = await ask(pool, b"hello", headers=((b"x-tutelage-exchange", b"exc_1"),))
    assert (response.status, response.body) == (200, b'{"a":1}')
    host = upstream.url.removeprefix("http://").encode()
    assert upstream.requests == [
        b"POST /base/v1/x HTTP/1.1\r\nhost: " + host + b"\r\ncontent-type: application/json\r\n"
        b"content-length: 5\r\nx-tutelage-exchange: exc_1\r\n\r\nhello"
    ]


async def test_connections_are_kept_and_shared():
    async with pooled(answering(whole())) as (pool, upstream):
        for _ in range(3):
            await ask(pool)
        assert upstream.connections == 1
        await asyncio.gather(*(ask(pool) for _ in range(5)))
        assert upstream.connections == 5
        assert len(upstream.requests) == 8


async def test_a_large_request_arrives_whole():
    body = bytes(range(256)) * 4096
    async with pooled(answering(whole())) as (pool, upstream):
        await ask(pool, body)
        await ask(pool)
    assert upstream.requests[0].endswith(body)
    assert upstream.connections == 1


async def test_a_connection_that_is_to_be_closed_is_not_kept():
    async with pooled(answering(whole(b"{}", b"200 OK", b"connection: close"))) as (pool, upstream):
        await ask(pool)
        await ask(pool)
        assert upstream.connections == 2


async def test_a_body_that_ends_with_the_connection_is_whole():
    async def behave(conversation: Conversation):
        await conversation.hear()
        await conversation.say(b"HTTP/1.0 200 OK\r\n\r\nhel", b"lo", pause=0.01)

    async with pooled(behave) as (pool, _):
        assert (await ask(pool)).body == b"hello"


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (b"", "closed the connection"),
        (b"HTTP/1.1 200 OK\r\ncontent-le", "closed the connection"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", "closed the connection"),
        (STREAM_HEAD + b"a\r\nhalf", "closed the connection"),
        (b"\x16\x03\x01\x02\x00\x01", "not HTTP"),
    ],
)
async def test_an_upstream_that_breaks_off_is_an_error_and_is_not_asked_again(said, message):
    async def behave(conversation: Conversation):
        await conversation.hear()
        await conversation.say(said)

    async with pooled(behave) as (pool, upstream):
        with pytest.raises(BrokenOffError, match=message):
            await ask(pool)
        assert len(upstream.requests) == 1


async def test_a_kept_connection_that_was_closed_is_replaced_once():
    async def behave(conversation: Conversation):
        await conversation.hear()
        await conversation.say(whole(b"%d" % conversation.number))
        await conversation.hear()  # and closes without an answer

    async with pooled(behave) as (pool, upstream):
        assert [(await ask(pool)).body for _ in range(3)] == [b"1", b"2", b"3"]
        assert upstream.connections == 3


@pytest.mark.parametrize("said", [b"H", b"HTTP/1.1 100 Continue\r\n\r\n"])
async def test_but_not_once_something_was_answered(said):
    async def behave(conversation: Conversation):
        await conversation.hear()
        await conversation.say(whole())
        await conversation.hear()
        await conversation.say(said)

    async with pooled(behave) as (pool, upstream):
        await ask(pool)
        with pytest.raises(BrokenOffError):
            await ask(pool)
        assert upstream.connections == 1


async def test_nor_once_it_had_time_to_work(monkeypatch):
    async def behave(conversation: Conversation):
        await conversation.hear()
        await conversation.say(whole())
        await conversation.hear()
        await asyncio.sleep(0.1)

    monkeypatch.setattr("router.upstream.pool._STALE_SECONDS", 0.05)
    async with pooled(behave) as (pool, upstream):
        await ask(pool)
        with pytest.raises(BrokenOffError):
            await ask(pool)
        assert upstream.connections == 1


async def test_whoever_speaks_without_being_asked_is_hung_up_on():
    async def behave(conversation: Conversation):
        await conversation.hear()
        await conversation.say(whole(b"%d" % conversation.number))
        await asyncio.sleep(0.02)
        await conversation.say(whole(b"poison"))
        await conversation.until_hung_up()

    async with pooled(behave) as (pool, upstream):
        await ask(pool)
        await asyncio.wait_for(upstream.hung_up.wait(), 2)
        assert (await ask(pool)).body == b"2"


async def test_what_follows_an_answer_never_answers_the_next_request():
    async def behave(conversation: Conversation):
        while await conversation.hear() is not None:
            await conversation.say(whole(b"good") + whole(b"poison"))

    async with pooled(behave) as (pool, upstream):
        assert [(await ask(pool)).body for _ in range(3)] == [b"good"] * 3
        assert upstream.connections == 3


async def silence(conversation: Conversation):
    await conversation.hear()
    await conversation.until_hung_up()


async def test_a_silent_upstream_runs_into_the_read_time_out():
    async with pooled(silence, timeouts=Timeouts(read=0.1)) as (pool, upstream):
        with pytest.raises(UpstreamTimeoutError, match=r"sent nothing for 0.1 s; raise its timeouts.read"):
            await ask(pool)
        await asyncio.wait_for(upstream.hung_up.wait(), 2)


async def test_the_read_time_out_starts_anew_with_each_piece():
    async def behave(conversation: Conversation):
        await conversation.hear()
        await conversation.say(STREAM_HEAD, *[chunk(b"x")] * 5, STREAM_END, pause=0.08)

    async with pooled(behave, timeouts=Timeouts(read=0.25)) as (pool, _):
        assert (await ask(pool)).body == b"xxxxx"


async def test_an_upstream_that_takes_no_request_runs_into_the_write_time_out():
    async def deaf(conversation: Conversation):
        conversation.stop_reading()
        await asyncio.sleep(5)

    async with pooled(deaf, timeouts=Timeouts(read=3.0, write=0.1)) as (pool, _):
        with pytest.raises(UpstreamTimeoutError, match=r"did not take the request within 0.1 s"):
            await ask(pool, bytes(32 * 1024 * 1024))


async def test_nobody_there_is_a_connect_error(free_port):
    pool = Http1Pool("the student", f"http://127.0.0.1:{free_port}", TIMES)
    with pytest.raises(ConnectError, match="the student cannot be reached"):
        await ask(pool)


async def test_a_connection_that_takes_too_long_is_a_connect_error():
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):  # more than the backlog holds: later ones hang
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        pool = Http1Pool("the student", f"http://127.0.0.1:{listener.getsockname()[1]}", Timeouts(connect=0.1))
        with pytest.raises(ConnectError, match=r"within 0.1 s"):
            await ask(pool)
        with pytest.raises(DeadlineError):
            await ask(pool, deadline=asyncio.get_running_loop().time() + 0.02)


async def test_a_full_pool_makes_wait_and_then_refuses():
    released = asyncio.Event()

    async def behave(conversation: Conversation):
        while await conversation.hear() is not None:
            await released.wait()
            await conversation.say(whole())

    async with pooled(behave, timeouts=Timeouts(pool=0.1), limit=2) as (pool, upstream):
        first = [asyncio.create_task(ask(pool)) for _ in range(2)]
        await asyncio.sleep(0.02)
        with pytest.raises(NoConnectionError, match="all 2 connections to the student"):
            await ask(pool)
        waiting = [asyncio.create_task(ask(pool)) for _ in range(4)]
        await asyncio.sleep(0.02)
        waiting.pop().cancel()
        released.set()
        await asyncio.gather(*first, *waiting)
        assert upstream.connections == 2


async def test_a_place_that_becomes_free_is_taken_by_whoever_waits():
    async def behave(conversation: Conversation):
        await conversation.hear()
        await asyncio.sleep(0.01)
        await conversation.say(whole(b"{}", b"200 OK", b"connection: close"))

    async with pooled(behave, limit=2) as (pool, upstream):
        await asyncio.gather(*(ask(pool) for _ in range(10)))
        assert upstream.connections == 10


async def test_the_place_of_a_failed_connection_is_free_again(free_port):
    pool = Http1Pool("the student", f"http://127.0.0.1:{free_port}", TIMES, limit=1)
    failures = await asyncio.gather(*(ask(pool) for _ in range(5)), return_exceptions=True)
    assert all(isinstance(failure, ConnectError) for failure in failures)


async def test_who_is_cancelled_cuts_the_connection_at_once():
    async with pooled(silence) as (pool, upstream):
        task = asyncio.create_task(ask(pool))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.wait_for(upstream.hung_up.wait(), 1)
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_cancelling_at_any_moment_never_mixes_answers_up():
    async def behave(conversation: Conversation):
        while (request := await conversation.hear()) is not None:
            await asyncio.sleep(0.001)
            await conversation.say(whole(request.rpartition(b"\r\n\r\n")[2]))

    async with pooled(behave, limit=4) as (pool, _):

        async def one(number: int):
            body = b"%d" % number
            assert (await ask(pool, body)).body == body

        for round_ in range(60):
            tasks = [asyncio.create_task(one(round_ * 10 + i)) for i in range(10)]
            for turns in range(round_ % 20):
                await asyncio.sleep(0 if turns % 3 else 0.0005)
            for task in tasks[::3]:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(result is None or isinstance(result, asyncio.CancelledError) for result in results), results


async def test_connections_that_a_burst_has_left_are_closed_in_time(monkeypatch):
    monkeypatch.setattr("router.upstream.pool._IDLE_SECONDS", 0.1)
    async with pooled(answering(whole())) as (pool, upstream):
        await asyncio.gather(*(ask(pool) for _ in range(5)))
        for _ in range(20):
            await ask(pool)
            await asyncio.sleep(0.01)
        assert upstream.connections == 5
        assert len(pool._all) == 1
        await asyncio.sleep(0.15)
        await ask(pool)
        assert upstream.connections == 6  # the last one was too old as well


async def test_deadlines():
    loop = asyncio.get_running_loop()
    async with pooled(silence) as (pool, upstream):
        with pytest.raises(DeadlineError):
            await ask(pool, deadline=loop.time() - 1)
        assert upstream.requests == []
        started = loop.time()
        with pytest.raises(DeadlineError) as caught:
            await ask(pool, deadline=started + 0.1)
        assert not isinstance(caught.value, UpstreamTimeoutError)
        assert 0.09 < loop.time() - started < 0.4


async def test_pieces_come_as_they_are_sent():
    turn = asyncio.Event()

    async def behave(conversation: Conversation):
        await conversation.hear()
        await conversation.say(STREAM_HEAD)
        for number in range(3):
            await turn.wait()
            turn.clear()
            await conversation.say(chunk(b"event %d" % number))
        await conversation.say(STREAM_END)
        await silence(conversation)

    async with pooled(behave) as (pool, upstream):
        answer = await pool.open(b"POST", b"/v1/x", b"{}")
        assert (answer.status, answer.headers) == (200, {b"content-type": b"text/event-stream"})
        found = []
        turn.set()
        async for piece in answer.pieces():
            found.append(piece)
            turn.set()
        assert found == [b"event 0", b"event 1", b"event 2"]
        assert not answer.failed
        await answer.close()
        assert not upstream.hung_up.is_set()  # the connection is kept


async def test_a_refusal_can_be_read_whole_from_an_open_answer():
    async with pooled(answering(whole(b"no", b"429 Too Many Requests"))) as (pool, upstream):
        for _ in range(2):
            answer = await pool.open(b"POST", b"/v1/x", b"{}")
            assert (answer.status, await answer.read()) == (429, b"no")
            await answer.close()
        assert upstream.connections == 1


async def test_a_slow_reader_slows_the_upstream_down_and_runs_into_no_time_out():
    sent = 0

    async def behave(conversation: Conversation):
        nonlocal sent
        await conversation.hear()
        await conversation.say(STREAM_HEAD)
        for _ in range(500):
            await conversation.say(chunk(bytes(64 * 1024)))
            sent += 1
        await conversation.say(STREAM_END)

    async with pooled(behave, timeouts=Timeouts(read=0.1)) as (pool, _):
        answer = await pool.open(b"POST", b"/v1/x", b"{}")
        await asyncio.sleep(0.3)
        assert sent < 300  # the rest waits at the other side of the kernel's buffers
        size = 0
        async for piece in answer.pieces():
            assert len(piece) < 1024 * 1024
            size += len(piece)
        assert size == 500 * 64 * 1024


@pytest.mark.parametrize(("stalls", "failure"), [(False, BrokenOffError), (True, UpstreamTimeoutError)])
async def test_a_stream_that_breaks_off_gives_what_came_and_then_fails(stalls, failure):
    async def behave(conversation: Conversation):
        await conversation.hear()
        await conversation.say(STREAM_HEAD + chunk(b"half"))
        if stalls:
            await conversation.until_hung_up()

    async with pooled(behave, timeouts=Timeouts(read=0.1)) as (pool, _):
        answer = await pool.open(b"POST", b"/v1/x", b"{}")
        assert await anext(answer.pieces()) == b"half"
        with pytest.raises(failure):
            await anext(answer.pieces())
        assert answer.failed
        await answer.close()


async def endless(conversation: Conversation):
    await conversation.hear()
    await conversation.say(STREAM_HEAD)
    try:
        while not conversation.writer.transport.is_closing():
            await conversation.say(chunk(b"x"), pause=0.01)
    finally:
        conversation.server.hung_up.set()


async def test_closing_an_answer_cancels_the_upstream_at_once():
    async with pooled(endless) as (pool, upstream):
        answer = await pool.open(b"POST", b"/v1/x", b"{}")
        assert await anext(answer.pieces()) == b"x"
        await answer.close()
        await asyncio.wait_for(upstream.hung_up.wait(), 1)
        assert not answer.failed
        with pytest.raises(UpstreamError, match="closed before its end"):
            await anext(answer.pieces())


async def test_a_deadline_ends_a_stream_unless_it_is_lifted():
    loop = asyncio.get_running_loop()
    async with pooled(endless) as (pool, _):
        answer = await pool.open(b"POST", b"/v1/x", b"{}", deadline=loop.time() + 0.1)
        with pytest.raises(DeadlineError):
            await answer.read()
        answer = await pool.open(b"POST", b"/v1/x", b"{}", deadline=loop.time() + 0.1)
        answer.lift_deadline()
        until = loop.time() + 0.3
        async for _ in answer.pieces():
            if loop.time() > until:
                break
        assert not answer.failed
        await answer.close()


@pytest.mark.parametrize("value", [b"a\r\nx-evil: 1", b"a\nb", b"a\rb"])
async def test_headers_cannot_smuggle_lines(value):
    pool = Http1Pool("the student", "http://127.0.0.1:1", TIMES)
    with pytest.raises(ValueError, match="line break"):
        await ask(pool, headers=((b"x-request-id", value),))
    with pytest.raises(ValueError, match="percent-encoded"):
        await pool.request(b"POST", b"/v1/" + value, b"")


@pytest.mark.parametrize("url", ["ftp://host", "host:80", "http://user:secret@host", "https://host"])
def test_addresses_that_cannot_be_used(url):
    with pytest.raises(SettingsError) as caught:
        Http1Pool("the student", url, TIMES)
    assert "secret" not in str(caught.value)


async def test_nothing_is_left_over():
    async def behave(conversation: Conversation):
        while await conversation.hear() is not None:
            await conversation.say(STREAM_HEAD, chunk(b"x"))
            if conversation.number % 2:
                return
            await conversation.say(STREAM_END)

    before = len(asyncio.all_tasks())
    async with pooled(behave) as (pool, _):
        for number in range(60):
            answer = await pool.open(b"POST", b"/v1/x", b"{}")
            with contextlib.suppress(UpstreamError):
                if number % 3:
                    await answer.read()
            await answer.close()
        await pool.close()
        await asyncio.sleep(0.05)
        assert len(asyncio.all_tasks()) <= before + 1
        assert pool._all == set()
        assert not pool._idle
        assert pool._connecting == 0
    gc.collect()


async def test_no_deadline_is_infinity():
    async with pooled(answering(whole())) as (pool, _):
        assert (await ask(pool, deadline=inf)).status == 200
