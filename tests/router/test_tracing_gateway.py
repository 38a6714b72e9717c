"""The spans of a running gateway: one trace from the client to whoever answers, and nothing of what they say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.router.conftest import Running, run_gateway
from tests.support.openai_server import Teacher
from tests.support.otlp import Collector, attributes, collecting
from tests.support.processes import asgi_server
from tests.support.students import LABELS

STUDENTS = "where is xyzzy"
TEACHERS = "hello xyzzy"
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
CONTEXT = {"traceparent": TRACEPARENT, "tracestate": "vendor=1,other=2"}


@dataclass
class Listener:
    """An ASGI proxy before a student, which keeps the headers of what comes by."""

    url: str
    heard: list[dict[str, str]] = field(default_factory=list)

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] == "lifespan":
            for kind in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{kind}.complete"})
            return
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        if scope["method"] == "POST":
            self.heard.append(headers)
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        passed = {name: headers[name] for name in ("content-type", "x-tutelage-buffer") if name in headers}
        async with httpx.AsyncClient() as client:
            answer = await client.request(scope["method"], self.url + scope["path"], content=body, headers=passed)
        head = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer.content))]
        await send({"type": "http.response.start", "status": answer.status_code, "headers": head})
        await send({"type": "http.response.body", "body": answer.content})


class Traced:
    """A gateway that has served and stopped, and what its collector and its upstreams heard."""

    def __init__(self, folder: Path, student_url: str, *, tracing: bool = True) -> None:
        self._stack = ExitStack()
        self.listener = Listener(student_url)
        self.collector: Collector = self._stack.enter_context(collecting())
        self._serving = ExitStack()
        url = self._serving.enter_context(asgi_server(self.listener))
        overrides = {"tracing": {"otlp_endpoint": self.collector.url}} if tracing else {}
        self.gateway: Running = run_gateway(self._serving, folder, url, gateway={"deadline_seconds": 2.0}, **overrides)
        self.gateway.trust(*LABELS)

    @property
    def teacher(self) -> Teacher:
        return self.gateway.teacher

    def stop(self) -> None:
        """Stop the gateway: what is left of its spans goes out."""
        self._serving.close()

    def close(self) -> None:
        self._serving.close()
        self._stack.close()

    def trace(self, exchange: str) -> tuple[Span, list[Span]]:
        """A request's span, and its calls to upstreams in their order."""
        (server,) = [span for span in self.collector.spans if attributes(span).get("tutelage.exchange") == exchange]
        children = [span for span in self.collector.spans if span.parent_span_id == server.span_id]
        return server, sorted(children, key=lambda span: span.start_time_unix_nano)


@pytest.fixture
def traced(tmp_path: Path, student_url: str) -> Iterator[Traced]:
    running = Traced(tmp_path, student_url)
    yield running
    running.close()


def identifier(answer: httpx.Response) -> str:
    return answer.headers["x-tutelage-exchange"]


def told_of(headers: dict[str, str], span: Span) -> bool:
    """Whether an upstream was told that a call's span is its parent."""
    return headers["traceparent"].startswith(f"00-{span.trace_id.hex()}-{span.span_id.hex()}-0")


def test_a_request_is_one_trace_from_its_client_to_whoever_answers(traced):
    by_student = traced.gateway.ask(STUDENTS, headers=CONTEXT)
    by_teacher = traced.gateway.ask(TEACHERS, headers=CONTEXT)
    streamed = traced.gateway.ask(TEACHERS, headers=CONTEXT, stream=True)
    alone = traced.gateway.ask(STUDENTS)
    traced.stop()

    server, (student,) = traced.trace(identifier(by_student))
    assert (server.trace_id.hex(), server.parent_span_id.hex()) == (TRACE, PARENT)
    assert (server.kind, student.kind) == (Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT)
    assert told_of(traced.listener.heard[0], student)
    assert traced.listener.heard[0]["tracestate"] == CONTEXT["tracestate"]
    told = attributes(server)
    assert (told["tutelage.answered_by"], told["tutelage.reason"]) == ("student", "champion")
    assert (told["gen_ai.usage.input_tokens"], told["http.response.status_code"]) == (3, 200)

    server, (student, teacher) = traced.trace(identifier(by_teacher))
    assert (server.trace_id.hex(), server.parent_span_id.hex()) == (TRACE, PARENT)
    assert told_of(traced.listener.heard[1], student)
    assert told_of(traced.teacher.headers[0], teacher)
    assert (server.name, teacher.name) == ("chat desk", "chat big-teacher")
    told = attributes(server)
    assert (told["tutelage.answered_by"], told["tutelage.reason"]) == ("teacher", "low_confidence")
    assert (told["gen_ai.usage.input_tokens"], told["gen_ai.usage.output_tokens"]) == (7, 2)

    server, (_, teacher) = traced.trace(identifier(streamed))
    assert told_of(traced.teacher.headers[1], teacher)
    assert traced.teacher.headers[1]["tracestate"] == CONTEXT["tracestate"]
    for span in (server, teacher):
        told = attributes(span)
        assert told["gen_ai.request.stream"] is True
        assert (told["gen_ai.usage.input_tokens"], told["gen_ai.usage.output_tokens"]) == (7, 2)
    assert attributes(server)["gen_ai.response.time_to_first_chunk"] > 0

    server, (student,) = traced.trace(identifier(alone))
    assert server.parent_span_id == b""
    assert server.trace_id.hex() != TRACE
    assert told_of(traced.listener.heard[3], student)

    assert len(traced.collector.spans) == 2 + 3 + 3 + 2
    assert all(span.status.code == Status.STATUS_CODE_UNSET for span in traced.collector.spans)
    assert_nothing_said(traced)


def test_failures_are_told_by_their_code_on_the_request_and_on_the_call(traced):
    asked = {}
    for behaviour, more in (("error", {}), ("rubbish", {}), ("hang", {}), ("cut", {"stream": True})):
        traced.teacher.behaviour = behaviour
        asked[behaviour] = identifier(traced.gateway.ask(TEACHERS, **more))
    refused = traced.gateway.ask("x", model="nobody")
    traced.stop()

    server, (_, teacher) = traced.trace(asked["error"])
    assert attributes(server)["http.response.status_code"] == 429
    assert server.status.code == Status.STATUS_CODE_UNSET, "a refusal is no failure of the gateway's"
    assert attributes(teacher)["error.type"] == "429"

    server, (_, teacher) = traced.trace(asked["rubbish"])
    assert attributes(server)["http.response.status_code"] == 502
    assert attributes(server)["error.type"] == "upstream_error"
    assert server.status.code == Status.STATUS_CODE_ERROR
    assert attributes(teacher)["http.response.status_code"] == 200

    server, (_, teacher) = traced.trace(asked["hang"])
    assert attributes(server)["error.type"] == attributes(teacher)["error.type"] == "deadline_exceeded"
    assert attributes(server)["http.response.status_code"] == 504
    assert "http.response.status_code" not in attributes(teacher)

    server, (_, teacher) = traced.trace(asked["cut"])
    for span in (server, teacher):
        assert span.status.code == Status.STATUS_CODE_ERROR
        assert attributes(span)["http.response.status_code"] == 200
    assert attributes(server)["error.type"] == "incomplete"
    assert attributes(teacher)["error.type"] == "upstream_error"

    told = [attributes(span).get("tutelage.exchange") for span in traced.collector.spans]
    assert identifier(refused) not in told, "who asks for nothing that is here makes no span"
    assert_nothing_said(traced)


def test_without_a_collector_the_clients_trace_is_passed_on_untouched(tmp_path, student_url):
    traced = Traced(tmp_path, student_url, tracing=False)
    try:
        traced.gateway.ask(STUDENTS, headers=CONTEXT)
        traced.gateway.ask(TEACHERS, headers=CONTEXT)
        traced.gateway.ask(TEACHERS, headers=CONTEXT, stream=True)
        traced.gateway.ask(TEACHERS)
        traced.gateway.ask(TEACHERS, headers={"traceparent": "rubbish", "tracestate": "a=1"})
        traced.stop()
        for headers in (*traced.listener.heard[:3], *traced.teacher.headers[:2]):
            assert {name: headers[name] for name in CONTEXT} == CONTEXT
        for headers in (*traced.listener.heard[3:], *traced.teacher.headers[2:]):
            assert not CONTEXT.keys() & headers.keys()
        assert len(traced.listener.heard) == 5
        assert not traced.collector.raw
    finally:
        traced.close()


def assert_nothing_said(traced: Traced) -> None:
    sent = b"".join(traced.collector.raw)
    words: list[Any] = ["xyzzy", "hello", "where is", "order_status", "refund_status", "too fast"]
    assert not [word for word in words if word.encode() in sent]
