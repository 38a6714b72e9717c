import asyncio
import contextlib

import pytest
from structlog.testing import capture_logs

from core.errors import BreakerOpenError, DeadlineError, SettingsError, UnavailableError, UpstreamError
from core.settings import BreakerSettings, RetrySettings, StudentSettings, TeacherSettings, Timeouts
from router.upstream import (
    BreakerState,
    BrokenOffError,
    ConnectError,
    Response,
    Upstream,
    UpstreamTimeoutError,
    student_upstream,
    teacher_upstream,
)
from tests.support.processes import free_port
from tests.support.raw_upstream import (
    STREAM_END,
    STREAM_HEAD,
    Conversation,
    answering,
    chunk,
    raw_upstream,
    whole,
)

RULES = BreakerSettings(consecutive_failures=2, open_seconds=5, probes=1)
RETRIES = RetrySettings()


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@contextlib.asynccontextmanager
async def towards(*urls, clock=None, breaker=RULES, retry=RETRIES, alone=True, read=1.0, **more):
    upstream = Upstream(
        "the student",
        urls,
        Timeouts(connect=0.5, read=read),
        breaker=breaker,
        retry=retry,
        replicas_refuse_alone=alone,
        clock=clock or Clock(),
        **more,
    )
    try:
        yield upstream
    finally:
        await upstream.close()


def nobody():
    return f"http://127.0.0.1:{free_port()}"


async def break_off(conversation: Conversation):
    await conversation.hear()


async def silence(conversation: Conversation):
    await conversation.hear()
    await conversation.until_hung_up()


async def test_it_asks_and_counts():
    async with raw_upstream(answering(whole(b"hi"))) as server, towards(server.url) as upstream:
        response = await upstream.request(b"/v1/x", b"{}", ((b"x-a", b"b"),))
        assert isinstance(response, Response)
        assert (response.status, response.body) == (200, b"hi")
        assert b"\r\nx-a: b\r\n" in server.requests[0]
        assert (upstream.requests, upstream.failures, upstream.retries) == (1, 0, 0)
        assert upstream.replicas[0].outstanding == 0
        assert upstream.state is BreakerState.CLOSED
        await upstream.request(b"/v1/models", method=b"GET")
        assert server.requests[1].startswith(b"GET /v1/models ")


async def test_whoever_has_least_to_do_is_asked():
    async with (
        raw_upstream(silence) as slow,
        raw_upstream(answering(whole())) as quick,
        towards(slow.url, quick.url) as upstream,
    ):
        tasks = []
        while not slow.requests:  # one request hangs there, and from then on it is the busier one
            tasks.append(asyncio.create_task(upstream.request(b"/v1/x")))
            await asyncio.sleep(0.02)
        for _ in range(10):
            await upstream.request(b"/v1/x")
        assert len(slow.requests) == 1
        assert upstream.replicas[0].outstanding == 1
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert upstream.replicas[0].outstanding == 0


async def test_ties_go_round():
    async with contextlib.AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(raw_upstream(answering(whole()))) for _ in range(3)]
        upstream = await stack.enter_async_context(towards(*(server.url for server in servers)))
        for _ in range(9):
            await upstream.request(b"/v1/x")
        assert [len(server.requests) for server in servers] == [3, 3, 3]


async def test_a_replica_that_cannot_be_reached_costs_no_request_and_is_left_out():
    async with raw_upstream(answering(whole())) as server, towards(nobody(), server.url) as upstream:
        with capture_logs() as logs:
            for _ in range(20):
                assert (await upstream.request(b"/v1/x")).status == 200
        assert upstream.failures == 0
        assert upstream.retries == 2
        assert [replica.breaker.state for replica in upstream.replicas] == [BreakerState.OPEN, BreakerState.CLOSED]
        assert upstream.state is BreakerState.CLOSED
        assert [(log["event"], log["replica"]) for log in logs] == [("replica_ejected", 0)]


async def test_a_single_one_that_cannot_be_reached_is_tried_twice_then_left_alone():
    clock = Clock()
    async with towards(nobody(), clock=clock) as upstream:
        with pytest.raises(ConnectError):
            await upstream.request(b"/v1/x")
        assert (upstream.retries, upstream.failures) == (1, 1)
        assert not upstream.available
        with pytest.raises(BreakerOpenError, match="the student has failed too often") as caught:
            await upstream.request(b"/v1/x")
        assert isinstance(caught.value, UnavailableError)
        assert caught.value.retry_after is not None
        assert 3.9 < caught.value.retry_after <= 5
        clock.now += 6
        assert upstream.available


async def test_a_real_request_probes_it_and_brings_it_back():
    clock, port = Clock(), free_port()
    async with towards(f"http://127.0.0.1:{port}", clock=clock) as upstream:
        with pytest.raises(ConnectError):
            await upstream.request(b"/v1/x")
        async with raw_upstream(answering(whole()), port=port):
            with pytest.raises(BreakerOpenError):
                await upstream.request(b"/v1/x")
            clock.now += 6
            with capture_logs() as logs:
                assert (await upstream.request(b"/v1/x")).status == 200
            assert upstream.state is BreakerState.CLOSED
            assert [log["event"] for log in logs] == ["replica_back"]


async def test_a_health_probe_shortens_the_wait_where_connecting_was_the_trouble():
    clock, port = Clock(), free_port()
    async with towards(f"http://127.0.0.1:{port}", clock=clock) as upstream:
        assert await upstream.probe() == [None]
        with pytest.raises(ConnectError):
            await upstream.request(b"/v1/x")
        async with raw_upstream(answering(whole(b"models")), port=port) as server:
            (found,) = await upstream.probe()
            assert found is not None
            assert found.body == b"models"
            assert server.requests[0].startswith(b"GET /v1/models ")
            assert upstream.available
            assert upstream.state is BreakerState.OPEN
            assert (await upstream.request(b"/v1/x")).status == 200
    assert upstream.requests == 2  # probes are not requests


async def test_but_not_where_it_fails_at_work():
    async def behave(conversation: Conversation):
        while (request := await conversation.hear()) is not None:
            await conversation.say(whole(b"", b"200 OK" if request.startswith(b"GET") else b"500 Oh dear"))

    async with raw_upstream(behave) as server, towards(server.url) as upstream:
        for _ in range(2):
            assert (await upstream.request(b"/v1/x")).status == 500
        assert upstream.failures == 2
        await upstream.probe()
        assert not upstream.available


@pytest.mark.parametrize("status", [b"429 Too Many Requests", b"503 Unavailable"])
async def test_another_replica_is_asked_where_one_refuses_for_itself(status):
    async with (
        raw_upstream(answering(whole(b"full", status))) as full,
        raw_upstream(answering(whole(b"hi"))) as free,
        towards(full.url, free.url, breaker=BreakerSettings(consecutive_failures=1000, failure_ratio=1)) as upstream,
    ):
        for _ in range(6):
            assert (await upstream.request(b"/v1/x")).body == b"hi"
            async with upstream.open(b"/v1/x", b"{}") as answer:
                assert await answer.read() == b"hi"
        assert upstream.retries == len(full.requests) > 0
        assert upstream.failures == 0
        assert [replica.outstanding for replica in upstream.replicas] == [0, 0]


async def test_a_refusal_is_passed_on_where_nobody_else_is_there_or_it_speaks_for_the_account():
    refusal = whole(b"full", b"429 Too Many Requests", b"retry-after: 7")
    async with raw_upstream(answering(refusal)) as one, raw_upstream(answering(refusal)) as two:
        async with towards(one.url) as upstream:
            response = await upstream.request(b"/v1/x")
            assert (response.status, response.headers[b"retry-after"]) == (429, b"7")
        async with towards(one.url, two.url, alone=False) as upstream:
            await upstream.request(b"/v1/x")
            assert upstream.retries == 0
            for _ in range(20):
                await upstream.request(b"/v1/x")
            assert upstream.state is BreakerState.CLOSED  # being busy is no failure


@pytest.mark.parametrize(("behave", "failure"), [(break_off, BrokenOffError), (silence, UpstreamTimeoutError)])
async def test_what_may_have_been_worked_on_is_not_sent_again(behave, failure):
    async with (
        raw_upstream(behave) as one,
        raw_upstream(behave) as two,
        towards(one.url, two.url, read=0.1) as upstream,
    ):
        with pytest.raises(failure):
            await upstream.request(b"/v1/x")
        assert len(one.requests) + len(two.requests) == 1
        assert (upstream.failures, upstream.retries) == (1, 0)


async def test_retries_end_with_their_budget():
    retry = RetrySettings(share=0.0, minimum=3, window_seconds=10)
    lenient = BreakerSettings(consecutive_failures=10_000, min_requests=10_000)
    async with towards(nobody(), nobody(), retry=retry, breaker=lenient) as upstream:
        for _ in range(10):
            with pytest.raises(ConnectError):
                await upstream.request(b"/v1/x")
        assert (upstream.retries, upstream.failures) == (3, 10)
    async with towards(nobody(), retry=RetrySettings(attempts=1), breaker=lenient) as upstream:
        with pytest.raises(ConnectError):
            await upstream.request(b"/v1/x")
        assert upstream.retries == 0


async def test_neither_a_client_that_goes_nor_a_deadline_is_held_against_it():
    async with raw_upstream(silence) as server, towards(server.url) as upstream:
        for _ in range(3):
            with pytest.raises(DeadlineError):
                await upstream.request(b"/v1/x", deadline=asyncio.get_running_loop().time() + 0.05)
            task = asyncio.create_task(upstream.request(b"/v1/x"))
            await asyncio.sleep(0.02)
            task.cancel()
            await asyncio.wait({task})
        assert upstream.state is BreakerState.CLOSED
        assert upstream.failures == 3
        assert upstream.replicas[0].outstanding == 0


async def test_a_stream_is_outstanding_until_it_is_closed_and_cancelled_when_left():
    async def behave(conversation: Conversation):
        await conversation.hear()
        await conversation.say(STREAM_HEAD, chunk(b"x"))
        await conversation.until_hung_up()

    async with raw_upstream(behave) as server, towards(server.url) as upstream:
        async with upstream.open(b"/v1/x", b"{}") as answer:
            assert answer.headers[b"content-type"] == b"text/event-stream"
            async for piece in answer.pieces():
                assert piece == b"x"
                break
            assert upstream.replicas[0].outstanding == 1
        await asyncio.wait_for(server.hung_up.wait(), 1)
        assert upstream.replicas[0].outstanding == 0
        assert upstream.failures == 0


async def test_streams_that_break_off_open_the_breaker():
    async def behave(conversation: Conversation):
        await conversation.hear()
        await conversation.say(STREAM_HEAD, chunk(b"x"))

    breaker = BreakerSettings(consecutive_failures=100, failure_ratio=0.5, min_requests=8)
    async with raw_upstream(behave) as server, towards(server.url, breaker=breaker) as upstream:
        for _ in range(4):
            with pytest.raises(BrokenOffError):
                async with upstream.open(b"/v1/x", b"{}") as answer:
                    await answer.read()
        assert upstream.failures == 4
        assert upstream.state is BreakerState.OPEN


async def test_what_the_reader_does_wrong_is_not_held_against_it():
    async with (
        raw_upstream(answering(STREAM_HEAD + chunk(b"x") + STREAM_END)) as server,
        towards(server.url) as upstream,
    ):
        for _ in range(5):
            with pytest.raises(ConnectError, match="of somebody else"):
                async with upstream.open(b"/v1/x", b"{}"):
                    raise ConnectError("of somebody else")
        assert (upstream.failures, upstream.state) == (0, BreakerState.CLOSED)


async def test_the_key_is_read_at_each_call(monkeypatch):
    async with raw_upstream(answering(whole())) as server, towards(server.url, api_key_env="A_TEST_KEY") as upstream:
        for key in ("first", "second\n"):
            monkeypatch.setenv("A_TEST_KEY", key)
            await upstream.request(b"/v1/x", b"{}", ((b"x-a", b"b"),))
            assert f"\r\nauthorization: Bearer {key.strip()}\r\n".encode() in server.requests[-1]
        await upstream.probe()
        assert b"Bearer second" in server.requests[-1]
        monkeypatch.delenv("A_TEST_KEY")
        with pytest.raises(UpstreamError, match="set the environment variable A_TEST_KEY"):
            await upstream.request(b"/v1/x")
        assert await upstream.probe() == [None]
        monkeypatch.setenv("A_TEST_KEY", "s3cr\net")
        with pytest.raises(UpstreamError) as caught:
            await upstream.request(b"/v1/x")
        assert "s3cr" not in str(caught.value)
        assert upstream.state is BreakerState.CLOSED


async def test_they_are_built_from_settings():
    async with raw_upstream(answering(whole(b"hi"))) as one, raw_upstream(answering(whole(b"hi"))) as two:
        student = student_upstream(StudentSettings(urls=[one.url, two.url]))
        teacher = teacher_upstream(TeacherSettings(base_url=f"{one.url}/v1", model="big", replicas=[f"{two.url}/v1/"]))
        for _ in range(2):
            await student.request(b"/v1/chat/completions")
            await teacher.request(b"/chat/completions")
        assert [len(server.requests) for server in (one, two)] == [2, 2]
        assert all(request.startswith(b"POST /v1/chat/completions ") for request in one.requests + two.requests)
        assert [found.body for found in await teacher.probe() if found] == [b"hi", b"hi"]
        assert one.requests[-1].startswith(b"GET /v1/models ")
        await student.close()
        await teacher.close()


def test_addresses_are_checked_at_the_start():
    for url in ("unix:///tmp/x", "localhost:80", "http://", "http://user:s3cret@host"):
        with pytest.raises(SettingsError) as caught:
            student_upstream(StudentSettings(url=url))
        assert "s3cret" not in str(caught.value)
    assert StudentSettings(port=1).base_urls == ["http://127.0.0.1:1"]
    with pytest.raises(ValueError, match="put all of them into urls"):
        StudentSettings(url="http://a", urls=["http://b"])
