"""Asking the teacher, and passing on what it says.

A teacher that answers with labels by itself (`ask: forward`) is passed through untouched, whole or as a stream. One
that chooses among numbered labels (`ask: choose`) is asked for a whole answer, which goes out as the label it stands
for.

Falling back is possible until the first byte has gone out. After that a failure ends the stream with an error event,
never with a fake finish.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx
import msgspec
from starlette.types import Send

from core import wire
from core.errors import ApiError, DeadlineError, UpstreamError
from core.records import Answerer, Usage
from core.teacher import (
    forward_request,
    label_request,
    pack_distribution,
    read_answer,
    vendor_distribution,
)
from router.by_student import send_label_stream, top_of
from router.call import Call, Headers
from router.recorder import Recorder
from router.respond import send_events, send_json, start_events
from router.sse import EventSplitter, data_of
from router.tasks import Task
from router.teacher import read_bounded
from router.vendor import chunk_without_vendor, without_vendor

_PASSED_HEADERS = ("retry-after", "retry-after-ms", "x-should-retry")


@dataclass(slots=True)
class _Attempt:
    """One request to the teacher, with all that answering and recording it needs."""

    send: Send
    call: Call
    task: Task
    request: wire.ChatRequest
    body: bytes
    recorder: Recorder
    deadline: float
    """Time of the event loop at which the client is told that nobody answered."""

    recorded: bool = False

    def record(self, answered_by: Answerer, status: int, **more: object) -> None:
        """Record the exchange, once: a client may still go away while its answer is on the way out."""
        if self.recorded:
            return
        self.recorded = True
        record = self.call.exchange(
            self.task,
            self.request,
            self.body,
            answered_by=answered_by,
            status=status,
            **more,  # type: ignore[arg-type]  # keywords of `exchange`, checked where they are given
        )
        self.recorder.exchange(record)

    def record_answer(self, completion: wire.Completion, output: str | None, spread: Mapping[str, float]) -> None:
        """Record a whole answer of the teacher's, with its distribution: what it said anyway, a student can learn."""
        self.record(
            Answerer.TEACHER,
            200,
            model=completion.model,
            output=output,
            teacher_distribution=pack_distribution(spread, self.task.labels),
            completion_id=completion.id,
            usage=completion.tokens,
        )


@dataclass(slots=True)
class _Heard:
    """What has been read of a stream so far."""

    model: str = ""
    completion_id: str = ""
    usage: Usage = field(default_factory=Usage)
    content: list[str] = field(default_factory=list)
    vendor: wire.VendorField | None = None
    started: bool = False

    def note(self, chunk: wire.Chunk) -> None:
        self.model = self.model or chunk.model
        self.completion_id = self.completion_id or chunk.id
        if chunk.usage is not None:
            self.usage = Usage(chunk.usage.prompt_tokens or 0, chunk.usage.completion_tokens or 0)
        self.vendor = chunk.tutelage or self.vendor
        self.content += [choice.delta.content for choice in chunk.choices if choice.delta.content]


async def answer_by_teacher(
    send: Send,
    call: Call,
    task: Task,
    request: wire.ChatRequest,
    body: bytes,
    recorder: Recorder,
    deadline_seconds: float,
) -> None:
    """Answer with the teacher, and record it.

    Raises ApiError where it failed before anything was sent; that failure is recorded too.
    """
    deadline = asyncio.get_running_loop().time() + deadline_seconds - call.elapsed
    attempt = _Attempt(send, call, task, request, body, recorder, deadline)
    try:
        if task.settings.teacher.ask == "choose" and call.text is not None:
            await _choose(attempt, call.text)
        elif request.stream:
            await _forward_stream(attempt)
        else:
            await _forward(attempt)
    except ApiError as error:
        attempt.record(Answerer.NOBODY, error.status, error=error.message)
        raise
    except asyncio.CancelledError:
        attempt.record(Answerer.NOBODY, 499, error="the client went away", complete=False)
        raise


async def _forward(attempt: _Attempt) -> None:
    call, task = attempt.call, attempt.task
    found = await _ask_for_completion(attempt, forward_request(attempt.body, task.settings.teacher))
    if found is None:
        return
    completion, answer = found
    spread = read_answer(completion, task.labels, task.settings.teacher).distribution
    attempt.record_answer(completion, completion.content, spread)
    if completion.tutelage is not None:
        answer = without_vendor(answer, completion.tutelage, task.labels, wanted=call.wants_vendor)
    await send_json(attempt.send, 200, answer, call.answered_headers())


async def _choose(attempt: _Attempt, text: str) -> None:
    task, call, request = attempt.task, attempt.call, attempt.request
    found = await _ask_for_completion(attempt, label_request(text, task.labels, task.settings.teacher))
    if found is None:
        return
    completion, _ = found
    answer = read_answer(completion, task.labels, task.settings.teacher)
    if answer.label is None:
        raise UpstreamError("the teacher answered with something that is none of the task's labels")
    attempt.record_answer(completion, answer.label, answer.distribution)
    spread = sorted(answer.distribution.items(), key=lambda pair: -pair[1])
    usage = completion.tokens
    if request.stream:
        await send_label_stream(
            attempt.send, call, request, task, label=answer.label, answer=None, usage=usage, spread=spread
        )
        return
    body = wire.completion_body(
        identifier=call.id,
        model=request.model,
        label=answer.label,
        usage=usage,
        distribution=top_of(request, spread),
    )
    await send_json(attempt.send, 200, body, call.answered_headers())


async def _ask_for_completion(attempt: _Attempt, body: bytes) -> tuple[wire.Completion, bytes] | None:
    """Ask for a whole answer; None where the teacher refused, which has been passed on then."""
    status, headers, raw = await _ask(attempt, body)
    if status != 200:
        await _pass_error(attempt, status, headers, raw)
        return None
    try:
        return wire.decode_completion(raw), raw
    except ValueError as error:
        raise UpstreamError("the teacher's answer is not a chat completion") from error


async def _ask(attempt: _Attempt, body: bytes) -> tuple[int, httpx.Headers, bytes]:
    asked = time.perf_counter()
    try:
        async with asyncio.timeout_at(attempt.deadline), attempt.task.teacher.open(body) as response:
            return response.status_code, response.headers, await read_bounded(response)
    except TimeoutError as error:
        raise _too_late() from error
    finally:
        attempt.call.upstream_seconds += time.perf_counter() - asked


async def _forward_stream(attempt: _Attempt) -> None:
    body = wire.ask_for_usage(attempt.body, attempt.task.settings.teacher.model)
    heard = _Heard()
    asked = time.perf_counter()
    try:
        async with asyncio.timeout_at(attempt.deadline) as timer, attempt.task.teacher.open(body) as response:
            if response.status_code != 200 or "text/event-stream" not in response.headers.get("content-type", ""):
                await _pass_error(attempt, response.status_code, response.headers, await read_bounded(response))
                return
            await _relay(attempt, response, heard, timer)
    except (ApiError, TimeoutError) as error:
        failure = error if isinstance(error, ApiError) else _too_late()
        if not heard.started:
            raise failure from error
        _record_stream(attempt, heard, complete=False, error=failure.message)
        await send_events(attempt.send, wire.error_event(failure), last=True)
    except asyncio.CancelledError:
        if not heard.started:
            raise
        _record_stream(attempt, heard, complete=False, error="the client went away")
    finally:
        attempt.call.upstream_seconds += time.perf_counter() - asked


async def _relay(attempt: _Attempt, response: httpx.Response, heard: _Heard, timer: asyncio.Timeout) -> None:
    """Pass events on as they come; the head goes out with the first, so that until then falling back is possible."""
    splitter = EventSplitter()
    async for piece in response.aiter_bytes():
        events, done = _passed(splitter.feed(piece), heard, keep_usage=attempt.request.wants_usage_chunk)
        if (events or done) and not heard.started:
            await start_events(attempt.send, attempt.call.answered_headers())
            heard.started = True
            timer.reschedule(None)
        if done:
            _record_stream(attempt, heard, complete=True)
            await send_events(attempt.send, events + wire.DONE, last=True)
            return
        if events:
            await send_events(attempt.send, events, last=False)
    raise UpstreamError("the teacher's stream broke off before its end")


def _passed(events: list[bytes], heard: _Heard, *, keep_usage: bool) -> tuple[bytes, bool]:
    """Read events, and return those that go on, joined, and whether the stream is done."""
    passed: list[bytes] = []
    for event in events:
        data = data_of(event)
        if data == b"[DONE]":
            return b"".join(passed), True
        if data is None:
            continue
        try:
            chunk = wire.decode_chunk(data)
        except ValueError as error:
            raise UpstreamError("the teacher's stream holds something that is not a chunk") from error
        if chunk.error is not None:
            raise UpstreamError("the teacher ended its stream with an error")
        heard.note(chunk)
        if chunk.choices or chunk.usage is None or keep_usage:
            passed.append(chunk_without_vendor(event))
    return b"".join(passed), False


def _record_stream(attempt: _Attempt, heard: _Heard, *, complete: bool, error: str = "") -> None:
    labels = attempt.task.labels
    attempt.record(
        Answerer.TEACHER,
        200,
        model=heard.model,
        output="".join(heard.content),
        teacher_distribution=pack_distribution(vendor_distribution(heard.vendor, labels), labels),
        completion_id=heard.completion_id,
        usage=heard.usage,
        complete=complete,
        error=error,
    )


async def _pass_error(attempt: _Attempt, status: int, headers: httpx.Headers, body: bytes) -> None:
    """Pass a teacher's refusal on, with its status, in OpenAI's shape."""
    if status < 400:
        raise UpstreamError(f"the teacher answered with status {status} and something that is not an answer")
    error = _as_api_error(status, body)
    attempt.record(Answerer.NOBODY, status, error=error.message)
    passed: Headers = [(name.encode(), headers[name].encode()) for name in _PASSED_HEADERS if name in headers]
    await send_json(attempt.send, status, wire.error_body(error), attempt.call.answered_headers() + passed)


class _OpenAIError(msgspec.Struct):
    message: str = ""
    type: str | None = None
    param: str | None = None
    code: str | int | None = None


class _ErrorBody(msgspec.Struct):
    error: _OpenAIError


def _as_api_error(status: int, body: bytes) -> ApiError:
    try:
        found = msgspec.json.decode(body, type=_ErrorBody).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        found = _OpenAIError(message=f"the teacher refused with status {status}")
    code = found.code if isinstance(found.code, str) else None  # vLLM's code is a number, OpenAI's a string or null
    error = UpstreamError(found.message or f"the teacher refused with status {status}", param=found.param)
    error.code = code
    error.type = found.type or ("server_error" if status >= 500 else "invalid_request_error")
    return error


def _too_late() -> DeadlineError:
    return DeadlineError("nobody answered within gateway.deadline_seconds")
