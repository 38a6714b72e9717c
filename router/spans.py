"""OpenTelemetry spans of requests and of their upstream calls, by the conventions for generative AI.

https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/. A request is a SERVER span and each upstream call a
CLIENT span below it, both named `chat {model}` and the like. They hold names, numbers and codes, and never anything of
what was asked or answered, error messages included.

Spans go out from a thread of their own, in batches, through a bounded queue: where the collector is slow or away they
are dropped, and no request notices.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes as gen_ai
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.semconv.attributes.http_attributes import HTTP_RESPONSE_STATUS_CODE
from opentelemetry.semconv.attributes.server_attributes import SERVER_ADDRESS, SERVER_PORT
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from core.errors import SettingsError
from core.records import Usage
from core.settings import TracingSettings
from router.tracing import Headers
from router.upstream import HeaderPairs

_PROVIDER: Final = "openai"
"""`gen_ai.provider.name` names the flavour of the telemetry: everybody here speaks OpenAI's protocol."""
_EXPORT_SECONDS: Final = 5.0
_CLOSE_SECONDS: Final = 2.0
_MAX_NAME: Final = 200

_propagator = TraceContextTextMapPropagator()


class Tracing:
    """Makes spans and sends them to a collector. Built by `router.tracing.start_tracing`."""

    def __init__(self, settings: TracingSettings) -> None:
        """Raise SettingsError where the endpoint is no http:// or https:// URL."""
        endpoint = settings.otlp_endpoint or ""
        if not endpoint.startswith(("http://", "https://")):
            raise SettingsError(
                f"tracing.otlp_endpoint {endpoint!r} is no URL; set a collector's base, such as http://127.0.0.1:4318"
            )
        exporter = OTLPSpanExporter(endpoint=endpoint.rstrip("/") + "/v1/traces", timeout=_EXPORT_SECONDS)
        resource = {"service.name": settings.service_name, "service.instance.id": str(uuid.uuid4())}
        self._provider = TracerProvider(
            resource=Resource.create(resource),
            sampler=ParentBased(TraceIdRatioBased(settings.sample_share)),
            shutdown_on_exit=False,
        )
        self._exporter = exporter
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("tutelage.gateway")

    def request(
        self,
        operation: str,
        model: str,
        *,
        at: float,
        trace: HeaderPairs = (),
        stream: bool = False,
    ) -> RequestSpan:
        """Begin a request's span.

        `operation` is `chat`, `text_completion` or `embeddings`; `model` a name that this gateway knows, so that names
        of spans stay few; `at` seconds since the epoch (UTC); `trace` the client's trace context, as headers.
        """
        carrier = {name.decode(): value.decode("latin-1") for name, value in trace}
        span = self._tracer.start_span(
            _name(operation, model),
            _propagator.extract(carrier, Context()),
            SpanKind.SERVER,
            _asked(operation, model, stream=stream),
            start_time=int(at * 1e9),
        )
        return RequestSpan(self._tracer, span, operation)

    async def close(self) -> None:
        """Send what is left, as far as the collector takes it in time, and stop."""
        closing = asyncio.create_task(asyncio.to_thread(self._provider.shutdown))
        _, late = await asyncio.wait({closing}, timeout=_CLOSE_SECONDS)
        if late:
            # It gives up what it tries again and again, and refuses the rest.
            self._exporter.shutdown()  # type: ignore[no-untyped-call]  # the library left it without
        await closing


class RequestSpan:
    """The span of one request. Ended once."""

    __slots__ = ("_context", "_operation", "_span", "_tracer")

    def __init__(self, tracer: Tracer, span: Span, operation: str) -> None:
        self._tracer = tracer
        self._span = span
        self._operation = operation
        self._context = set_span_in_context(span, Context())

    def upstream(self, model: str, address: str, port: int | None, *, stream: bool = False) -> UpstreamSpan:
        """Begin the span of a call to an upstream at `address` (host name)."""
        attributes = _asked(self._operation, model, stream=stream) | {SERVER_ADDRESS: address}
        if port is not None:
            attributes[SERVER_PORT] = port
        span = self._tracer.start_span(_name(self._operation, model), self._context, SpanKind.CLIENT, attributes)
        return UpstreamSpan(span)

    def end(
        self,
        status: int,
        *,
        exchange: str = "",
        task: str = "",
        answered_by: str = "",
        reason: str = "",
        model: str = "",
        usage: Usage | None = None,
        error: str | None = None,
        first_chunk_seconds: float | None = None,
    ) -> None:
        """End it: `status` is what the client got, `model` who answered, `error` an error's code, never its message."""
        span = self._span
        if span.is_recording():
            told = {
                "tutelage.exchange": exchange,
                "tutelage.task": task,
                "tutelage.answered_by": answered_by,
                "tutelage.reason": reason,
            }
            span.set_attributes({name: value for name, value in told.items() if value})
            broken = error is not None and status < 400  # after the head had gone out
            _answered(span, status, model, usage, error, failed=status >= 500 or broken)
            if first_chunk_seconds is not None:
                span.set_attribute(gen_ai.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK, first_chunk_seconds)
        span.end()


class UpstreamSpan:
    """The span of one call to an upstream. Ended once."""

    __slots__ = ("_span", "headers")

    def __init__(self, span: Span) -> None:
        self._span = span
        carrier: dict[str, str] = {}
        _propagator.inject(carrier, set_span_in_context(span, Context()))
        self.headers: Headers = [(name.encode(), value.encode("latin-1")) for name, value in carrier.items()]
        """To be sent with the call: the trace, with this span as the parent."""

    def end(self, status: int | None, *, model: str = "", usage: Usage | None = None, error: str | None = None) -> None:
        """End it. `status` is the upstream's; None where it gave none, and `error` says why in a word."""
        if self._span.is_recording():
            _answered(self._span, status, model, usage, error, failed=status is None or status >= 400 or bool(error))
        self._span.end()


def _asked(operation: str, model: str, *, stream: bool) -> dict[str, str | int | bool]:
    attributes: dict[str, str | int | bool] = {
        gen_ai.GEN_AI_OPERATION_NAME: operation,
        gen_ai.GEN_AI_PROVIDER_NAME: _PROVIDER,
        gen_ai.GEN_AI_REQUEST_MODEL: model[:_MAX_NAME],
    }
    if stream:
        attributes[gen_ai.GEN_AI_REQUEST_STREAM] = True
    return attributes


def _answered(
    span: Span, status: int | None, model: str, usage: Usage | None, error: str | None, *, failed: bool
) -> None:
    if status is not None:
        span.set_attribute(HTTP_RESPONSE_STATUS_CODE, status)
    if model:
        span.set_attribute(gen_ai.GEN_AI_RESPONSE_MODEL, model[:_MAX_NAME])
    if usage is not None:
        span.set_attribute(gen_ai.GEN_AI_USAGE_INPUT_TOKENS, usage.prompt_tokens)
        span.set_attribute(gen_ai.GEN_AI_USAGE_OUTPUT_TOKENS, usage.completion_tokens)
    if failed or error is not None or (status is not None and status >= 400):
        span.set_attribute(ERROR_TYPE, error or (str(status) if status is not None else "_OTHER"))
    if failed:
        span.set_status(StatusCode.ERROR)


def _name(operation: str, model: str) -> str:
    return f"{operation} {model[:_MAX_NAME]}"
