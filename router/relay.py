"""Passing an upstream's stream on, event by event.

The head goes out with the first event: until then falling back is possible. After that a failure ends the stream with
an error event, never with a fake finish.
"""

from __future__ import annotations

import asyncio
import time

import structlog

from core.errors import ApiError, InternalError, UpstreamError
from router.attempt import Attempt, pass_error
from router.dialects import Dialect, Heard, Part
from router.refusal import hide_key
from router.sse import EventSplitter, data_of
from router.upstream import Answer
from router.vendor import chunk_without_vendor

_log = structlog.get_logger(__name__)


async def relay_stream(attempt: Attempt) -> None:
    """Ask the upstream for a stream and pass it on. Raises ApiError where it failed before anything was sent."""
    call, target, dialect, request = attempt.call, attempt.target, attempt.dialect, attempt.request
    path, model = f"/{dialect.upstream_path}".encode(), target.upstream_model(request.model)
    body = dialect.upstream_body(attempt.body, request, model)
    relay = _Relay(attempt)
    asked = time.perf_counter()
    span = call.begin_span(model, target.teacher, stream=True)
    trace = call.trace if span is None else span.headers
    try:
        async with target.teacher.open(path, body, trace, attempt.deadline) as answer:
            relay.status = answer.status
            if answer.status != 200 or not answer.headers.get(b"content-type", b"").startswith(b"text/event-stream"):
                await pass_error(attempt, answer.status, answer.headers, await answer.read())
            else:
                await relay.pass_on(answer)
    except ApiError as error:
        await relay.fail(error)
    except asyncio.CancelledError:
        relay.abandon()
        raise
    except Exception:  # a defect of ours: behind the first event, nothing but an event can tell the client of it
        if not relay.started:
            raise
        _log.exception("defect", exchange=call.id)
        await relay.fail(
            InternalError(f"something went wrong in the gateway; its log knows more of exchange {call.id}")
        )
    finally:
        call.upstream_seconds += time.perf_counter() - asked
        if span is not None:
            span.end(relay.status, model=relay.heard.model, usage=relay.heard.usage, error=relay.failure)


class _Relay:
    """One stream, as far as it has come."""

    __slots__ = ("_attempt", "failure", "heard", "started", "status")

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self.started = False
        """Something of it has gone out."""
        self.heard = Heard()
        self.status: int | None = None
        self.failure: str | None = None
        """Why it did not reach its end, as an error's code."""

    async def pass_on(self, answer: Answer) -> None:
        """Send the events on as they come. Raises UpstreamError where the stream breaks off."""
        attempt, heard, splitter = self._attempt, self.heard, EventSplitter()
        keep_usage = attempt.request.wants_usage_chunk
        async for piece in answer.pieces():
            events, ended = _passed(splitter.feed(piece), attempt.dialect, heard, keep_usage=keep_usage)
            if not self.started and (events or ended):
                answer.lift_deadline()
                await self._start()
            if ended:
                if heard.failure:
                    events = self._without_key(events)
                attempt.record_stream(heard, complete=not heard.failure, error=heard.failure)
                await attempt.client.send(events, last=True)
                return
            if events:
                await attempt.client.send(events, last=False)
        raise UpstreamError("the upstream's stream broke off before its end")

    async def fail(self, error: ApiError) -> None:
        """End the stream with an error event; raise where nothing has gone out."""
        self.failure = error.code
        hide_key(error, self._attempt.target.teacher.key)
        if not self.started:
            raise error
        attempt = self._attempt
        attempt.record_stream(self.heard, complete=False, error=error.message)
        attempt.recorder.stream_broken(attempt.target.name, by_client=False)
        await attempt.client.send(attempt.dialect.error_event(error, self.heard), last=True)

    def abandon(self) -> None:
        """The client has gone: what it has received is recorded, and paid for."""
        self.failure = "client_gone"
        if self.started:
            self._attempt.record_stream(self.heard, complete=False, error="the client went away")
            self._attempt.recorder.stream_broken(self._attempt.target.name, by_client=True)

    def _without_key(self, events: bytes) -> bytes:
        """Events by which the upstream itself says that it failed."""
        key = self._attempt.target.teacher.key
        if not key:
            return events
        self.heard.failure = self.heard.failure.replace(key, "***")
        return events.replace(key.encode(), b"***")

    async def _start(self) -> None:
        attempt = self._attempt
        self.started = True
        await attempt.client.start(attempt.call.answered_lines())
        attempt.call.first_byte_seconds = attempt.call.elapsed
        attempt.recorder.stream_began(attempt.target.name, attempt.call.first_byte_seconds)


def _passed(events: list[bytes], dialect: Dialect, heard: Heard, *, keep_usage: bool) -> tuple[bytes, bool]:
    """Read events, and return those that go on, joined, and whether the stream is done."""
    passed: list[bytes] = []
    for event in events:
        data = data_of(event)
        if data is None:
            continue
        part = dialect.hear(data, heard)
        if part is not Part.USAGE or keep_usage:
            passed.append(chunk_without_vendor(event, data))
        if part is Part.DONE or part is Part.LAST:
            return b"".join(passed), True
    return passed[0] if len(passed) == 1 else b"".join(passed), False
