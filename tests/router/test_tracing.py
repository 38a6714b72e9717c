"""Spans reach a real OTLP receiver, hold what the conventions ask for, and nothing of what was said."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from core.errors import SettingsError
from core.records import Usage
from core.settings import TracingSettings
from router.tracing import passed_on, start_tracing
from tests.support.otlp import attributes, collecting
from tests.support.processes import ROOT, free_port

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01".encode()
FUTURE = b"cc" + TRACEPARENT[2:] + b"-with-more"


async def test_a_request_and_its_upstream_call_are_one_trace():
    with collecting() as collector:
        tracing = start_tracing(TracingSettings(otlp_endpoint=collector.url, service_name="gate"))
        at = time.time()
        request = tracing.request(
            "chat", "desk", at=at, trace=((b"traceparent", TRACEPARENT), (b"tracestate", b"vendor=1")), stream=True
        )
        upstream = request.upstream("gpt-4o", "api.example.com", 443, stream=True)
        assert [name for name, _ in upstream.headers] == [b"traceparent", b"tracestate"]
        upstream.end(200, model="gpt-4o-2024", usage=Usage(12, 3))
        request.end(
            200,
            exchange="ex_1",
            task="desk",
            answered_by="teacher",
            reason="not_trusted",
            model="gpt-4o-2024",
            usage=Usage(12, 3),
            first_chunk_seconds=0.25,
        )
        await tracing.close()

    server, client = collector.span(Span.SPAN_KIND_SERVER), collector.span(Span.SPAN_KIND_CLIENT)
    assert server.trace_id.hex() == client.trace_id.hex() == TRACE
    assert server.parent_span_id.hex() == PARENT
    assert client.parent_span_id == server.span_id
    assert dict(upstream.headers) == {
        b"traceparent": f"00-{TRACE}-{client.span_id.hex()}-01".encode(),
        b"tracestate": b"vendor=1",
    }
    assert (server.name, client.name) == ("chat desk", "chat gpt-4o")
    assert server.start_time_unix_nano == int(at * 1e9)
    assert attributes(server) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "desk",
        "gen_ai.request.stream": True,
        "gen_ai.response.model": "gpt-4o-2024",
        "gen_ai.response.time_to_first_chunk": 0.25,
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.output_tokens": 3,
        "http.response.status_code": 200,
        "tutelage.exchange": "ex_1",
        "tutelage.task": "desk",
        "tutelage.answered_by": "teacher",
        "tutelage.reason": "not_trusted",
    }
    assert attributes(client) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.request.stream": True,
        "gen_ai.response.model": "gpt-4o-2024",
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.output_tokens": 3,
        "http.response.status_code": 200,
        "server.address": "api.example.com",
        "server.port": 443,
    }
    (resource,) = [resource.resource for request in collector.requests for resource in request.resource_spans]
    named = {pair.key: pair.value.string_value for pair in resource.attributes}
    assert named["service.name"] == "gate"
    assert named["service.instance.id"]


@pytest.mark.parametrize(
    ("status", "error", "kind", "failed"),
    [
        (502, "upstream_error", "upstream_error", True),
        (429, "overloaded", "overloaded", False),
        (499, "client_gone", "client_gone", False),
        (500, None, "500", True),
        (200, "upstream_error", "upstream_error", True),
    ],
)
async def test_errors_are_told_by_their_code(status, error, kind, failed):
    with collecting() as collector:
        tracing = start_tracing(TracingSettings(otlp_endpoint=collector.url))
        tracing.request("embeddings", "desk", at=time.time()).end(status, error=error)
        await tracing.close()
    (span,) = collector.spans
    assert attributes(span)["error.type"] == kind
    assert (span.status.code == Status.STATUS_CODE_ERROR) is failed
    assert not span.status.message
    assert not span.events


async def test_an_upstream_that_gave_no_answer():
    with collecting() as collector:
        tracing = start_tracing(TracingSettings(otlp_endpoint=collector.url))
        request = tracing.request("chat", "desk", at=time.time())
        request.upstream("m", "127.0.0.1", None).end(None, error="deadline_exceeded")
        request.end(504, error="deadline_exceeded")
        await tracing.close()
    client = collector.span(Span.SPAN_KIND_CLIENT)
    assert attributes(client)["error.type"] == "deadline_exceeded"
    assert "http.response.status_code" not in attributes(client)
    assert client.status.code == Status.STATUS_CODE_ERROR


async def test_the_client_decides_whether_its_trace_is_sampled():
    with collecting() as collector:
        tracing = start_tracing(TracingSettings(otlp_endpoint=collector.url, sample_share=0.0))
        unsampled = tracing.request("chat", "a", at=time.time(), trace=[(b"traceparent", TRACEPARENT[:-2] + b"00")])
        call = unsampled.upstream("m", "127.0.0.1", 80)
        assert dict(call.headers)[b"traceparent"].startswith(f"00-{TRACE}-".encode())
        assert dict(call.headers)[b"traceparent"].endswith(b"-00")
        call.end(200)
        unsampled.end(200)
        tracing.request("chat", "b", at=time.time()).end(200)
        tracing.request("chat", "c", at=time.time(), trace=[(b"traceparent", TRACEPARENT)]).end(200)
        await tracing.close()
    assert [span.name for span in collector.spans] == ["chat c"]


async def test_a_collector_that_is_away_holds_nothing_up(caplog):
    tracing = start_tracing(TracingSettings(otlp_endpoint=f"http://127.0.0.1:{free_port()}"))
    for _ in range(3_000):  # more than the queue holds
        tracing.request("chat", "desk", at=time.time()).end(200)
    started = time.monotonic()
    await tracing.close()
    assert time.monotonic() - started < 10
    assert not [record for record in caplog.records if record.exc_info]


def test_off_is_off_and_imports_nothing():
    assert start_tracing(TracingSettings()) is None
    code = (
        "import router.worker, sys\n"
        "ours = ('router.spans', 'opentelemetry.exporter', 'opentelemetry.sdk.trace.export', 'google.protobuf')\n"
        "print([name for name in sys.modules if name.startswith(ours)])"
    )  # redis-py imports parts of OpenTelemetry by itself, where it is installed
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip() == "[]"


def test_an_endpoint_that_is_no_url():
    with pytest.raises(SettingsError, match="otlp_endpoint"):
        start_tracing(TracingSettings(otlp_endpoint="collector:4318"))


@pytest.mark.parametrize(
    ("traceparent", "tracestate", "expected"),
    [
        (None, None, []),
        (None, b"a=1", []),
        (TRACEPARENT, None, [(b"traceparent", TRACEPARENT)]),
        (TRACEPARENT, b"a=1,b=2", [(b"traceparent", TRACEPARENT), (b"tracestate", b"a=1,b=2")]),
        (TRACEPARENT, b"a=" + b"x" * 600, [(b"traceparent", TRACEPARENT)]),
        (FUTURE, None, [(b"traceparent", FUTURE)]),
        (b"ff" + TRACEPARENT[2:], b"a=1", []),
        (TRACEPARENT.upper(), b"a=1", []),
        (b"00-" + b"0" * 32 + b"-" + PARENT.encode() + b"-01", None, []),
        (b"00-" + TRACE.encode() + b"-" + b"0" * 16 + b"-01", None, []),
        (TRACEPARENT + b"\r\nx: y", None, []),
        (TRACEPARENT + b"-" + b"x" * 300, None, []),
        (b"", b"", []),
    ],
)  # fmt: skip
def test_a_gateway_without_spans_passes_the_trace_on(traceparent, tracestate, expected):
    assert passed_on(traceparent, tracestate) == expected
