"""Asking the teacher, or the default upstream, and passing on what it says.

One that answers with labels by itself (`ask: forward`) is passed through untouched, whole or as a stream. One that
chooses among numbered labels (`ask: choose`) is asked for a whole answer, which goes out as the label it stands for.

Falling back is possible until the first byte has gone out. After that a failure ends the stream with an error event,
never with a fake finish.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Final

import msgspec
from starlette.types import Send

from core import wire
from core.errors import ApiError, InvalidRequestError, UpstreamError
from core.records import Answerer, Usage
from core.teacher import label_request, pack_distribution, read_answer, vendor_distribution
from router.by_student import send_label
from router.call import NO_USAGE, Call, Headers
from router.dialects import Dialect, Heard, LabelAnswer, Part, Request, chat_body
from router.recorder import Recorder
from router.respond import send_events, send_json, start_events
from router.sse import EventSplitter, data_of
from router.tasks import Target, Task
from router.vendor import chunk_without_vendor, without_vendor

_PASSED_HEADERS: Final = (b"retry-after", b"retry-after-ms", b"x-should-retry")
_CHAT_PATH: Final = b"/chat/completions"
_BYTES_PER_TOKEN: Final = 4


class _Attempt:
    """One request to the teacher, with all that answering and recording it needs."""

    __slots__ = ("body", "call", "deadline", "dialect", "recorded", "recorder", "request", "send", "target")

    def __init__(
        self,
        send: Send,
        call: Call,
        target: Target,
        dialect: Dialect,
        request: Request,
        body: bytes,
        recorder: Recorder,
        deadline: float,
    ) -> None:
        """`deadline` is the time of the event loop at which the client is told that nobody answered."""
        self.send = send
        self.call = call
        self.target = target
        self.dialect = dialect
        self.request = request
        self.body = body
        self.recorder = recorder
        self.deadline = deadline
        self.recorded = False

    def record(self, answered_by: Answerer, status: int, **more: object) -> None:
        """Record the exchange, once: a client may still go away while its answer is on the way out."""
        if self.recorded:
            return
        self.recorded = True
        record = self.call.exchange(
            self.target,
            self.request,
            self.body,
            answered_by=answered_by,
            status=status,
            **more,  # type: ignore[arg-type]  # keywords of `exchange`, checked where they are given
        )
        self.recorder.exchange(record)

    def record_answer(self, completion: wire.Completion, output: str | None, spread: Mapping[str, float]) -> None:
        """Record a whole answer of the teacher's, with its distribution: what it said anyway, a student can learn."""
        labels = self.target.labels
        self.record(
            Answerer.TEACHER,
            200,
            model=completion.model,
            output=output,
            teacher_distribution=pack_distribution(spread, labels) if labels is not None else b"",
            completion_id=completion.id,
            usage=completion.tokens,
        )

    def record_stream(self, heard: Heard, *, complete: bool, error: str = "") -> None:
        """Record a stream as far as it came. Where it broke off before its usage, that is estimated: it is billed."""
        usage = heard.usage
        if usage == NO_USAGE and not complete:
            usage = Usage(self.request.prompt_tokens, max(len(heard.pieces), len(heard.text) // _BYTES_PER_TOKEN))
        labels = self.target.labels
        spread = vendor_distribution(heard.vendor, labels) if labels is not None else {}
        self.record(
            Answerer.TEACHER,
            200,
            model=heard.model,
            output=heard.text,
            teacher_distribution=pack_distribution(spread, labels) if labels is not None else b"",
            completion_id=heard.id,
            usage=usage,
            complete=complete,
            error=error,
        )


async def answer_by_teacher(
    send: Send,
    call: Call,
    target: Target,
    dialect: Dialect,
    request: Request,
    body: bytes,
    recorder: Recorder,
    deadline_seconds: float,
) -> None:
    """Answer with the teacher, and record it.

    Raises ApiError where it failed before anything was sent; that failure is recorded too.
    """
    deadline = asyncio.get_running_loop().time() + deadline_seconds - call.elapsed
    attempt = _Attempt(send, call, target, dialect, request, body, recorder, deadline)
    try:
        if isinstance(target, Task) and target.chooses and call.text is not None and dialect.says_labels:
            await _choose(attempt, target, call.text)
        elif not target.speaks(dialect.name):
            await _put_as_chat(attempt)
        elif request.stream:
            await _forward_stream(attempt)
        else:
            await _forward(attempt)
    except ApiError as error:
        attempt.record(Answerer.NOBODY, error.status, error=error.message)
        raise
    except asyncio.CancelledError:
        usage = Usage(request.prompt_tokens, 0)  # nobody knows what it had said: the prompt at least is billed
        attempt.record(Answerer.NOBODY, 499, error="the client went away", complete=False, usage=usage)
        raise


async def _forward(attempt: _Attempt) -> None:
    call, target, dialect, request = attempt.call, attempt.target, attempt.dialect, attempt.request
    path = f"/{dialect.upstream_path}".encode()
    raw = await _ask(attempt, path, dialect.upstream_body(attempt.body, request, target.upstream_model(request.model)))
    if raw is None:
        return
    completion = dialect.read(raw)
    spread: Mapping[str, float] = {}
    if isinstance(target, Task):
        spread = read_answer(completion, target.labels, target.settings.teacher).distribution
    attempt.record_answer(completion, completion.content, spread)
    if completion.tutelage is not None and target.labels is not None:
        raw = without_vendor(raw, completion.tutelage, target.labels, wanted=call.wants_vendor)
    await send_json(attempt.send, 200, raw, call.answered_headers())


async def _choose(attempt: _Attempt, task: Task, text: str) -> None:
    call = attempt.call
    raw = await _ask(attempt, _CHAT_PATH, label_request(text, task.labels, task.settings.teacher))
    if raw is None:
        return
    try:
        completion = wire.decode_completion(raw)
    except ValueError as error:
        raise UpstreamError("the teacher's answer is not a chat completion") from error
    answer = read_answer(completion, task.labels, task.settings.teacher)
    if answer.label is None:
        raise UpstreamError("the teacher answered with something that is none of the task's labels")
    attempt.record_answer(completion, answer.label, answer.distribution)
    spread = sorted(answer.distribution.items(), key=lambda pair: -pair[1])
    said = LabelAnswer(call.id, answer.label, completion.tokens, spread)
    await send_label(attempt.send, call, attempt.dialect, attempt.request, said)


async def _put_as_chat(attempt: _Attempt) -> None:
    """Ask by chat, of a teacher that does not serve the client's address, and say its text in the client's dialect."""
    call, target, dialect, request = attempt.call, attempt.target, attempt.dialect, attempt.request
    if request.messages is None:
        raise InvalidRequestError(
            f"the teacher of {target.name!r} does not serve {dialect.path}, and this request holds more than text, so "
            "that it cannot be put to it as chat; ask at /v1/chat/completions"
        )
    body = chat_body(request, target.upstream_model(request.model), logprobs=True)
    raw = await _ask(attempt, _CHAT_PATH, body)
    if raw is None:
        return
    try:
        completion = wire.decode_completion(raw)
    except ValueError as error:
        raise UpstreamError("the teacher's answer is not a chat completion") from error
    if completion.content is None:
        raise UpstreamError("the teacher answered without a text")
    spread: Mapping[str, float] = {}
    if isinstance(target, Task):
        spread = read_answer(completion, target.labels, target.settings.teacher).distribution
    attempt.record_answer(completion, completion.content, spread)
    likeliest = sorted(spread.items(), key=lambda pair: -pair[1])
    said = LabelAnswer(call.id, completion.content, completion.tokens, likeliest)
    await send_label(attempt.send, call, dialect, request, said)


async def _ask(attempt: _Attempt, path: bytes, body: bytes) -> bytes | None:
    """Ask for a whole answer; None where the upstream refused, which has been passed on then."""
    asked = time.perf_counter()
    try:
        response = await attempt.target.teacher.request(path, body, attempt.call.trace, attempt.deadline)
    finally:
        attempt.call.upstream_seconds += time.perf_counter() - asked
    if response.status != 200:
        await _pass_error(attempt, response.status, response.headers, response.body)
        return None
    return response.body


async def _forward_stream(attempt: _Attempt) -> None:
    call, target, dialect, request = attempt.call, attempt.target, attempt.dialect, attempt.request
    path = f"/{dialect.upstream_path}".encode()
    body = dialect.upstream_body(attempt.body, request, target.upstream_model(request.model))
    heard = Heard()
    started = False
    asked = time.perf_counter()
    try:
        async with target.teacher.open(path, body, attempt.call.trace, attempt.deadline) as answer:
            if answer.status != 200 or not answer.headers.get(b"content-type", b"").startswith(b"text/event-stream"):
                await _pass_error(attempt, answer.status, answer.headers, await answer.read())
                return
            splitter = EventSplitter()
            async for piece in answer.pieces():
                events, ended = _passed(splitter.feed(piece), dialect, heard, keep_usage=request.wants_usage_chunk)
                if not started and (events or ended):
                    started = True
                    answer.lift_deadline()
                    await start_events(attempt.send, call.answered_headers())
                    attempt.recorder.stream_began(target.name, call.elapsed)
                if ended:
                    attempt.record_stream(heard, complete=not heard.failure, error=heard.failure)
                    await send_events(attempt.send, events, last=True)
                    return
                if events:
                    await send_events(attempt.send, events, last=False)
        raise UpstreamError("the teacher's stream broke off before its end")
    except ApiError as error:
        if not started:
            raise
        attempt.record_stream(heard, complete=False, error=error.message)
        attempt.recorder.stream_broken(target.name, by_client=False)
        await send_events(attempt.send, dialect.error_event(error, heard), last=True)
    except asyncio.CancelledError:
        if not started:
            raise
        attempt.record_stream(heard, complete=False, error="the client went away")
        attempt.recorder.stream_broken(target.name, by_client=True)
    finally:
        call.upstream_seconds += time.perf_counter() - asked


def _passed(events: list[bytes], dialect: Dialect, heard: Heard, *, keep_usage: bool) -> tuple[bytes, bool]:
    """Read events, and return those that go on, joined, and whether the stream is done."""
    passed: list[bytes] = []
    for event in events:
        data = data_of(event)
        if data is None:
            continue
        part = dialect.hear(data, heard)
        if part is not Part.USAGE or keep_usage:
            passed.append(chunk_without_vendor(event))
        if part is Part.DONE or part is Part.LAST:
            return b"".join(passed), True
    return passed[0] if len(passed) == 1 else b"".join(passed), False


async def _pass_error(attempt: _Attempt, status: int, headers: Mapping[bytes, bytes], body: bytes) -> None:
    """Pass an upstream's refusal on, with its status, in OpenAI's shape."""
    if status < 400:
        raise UpstreamError(f"the teacher answered with status {status} and something that is not an answer")
    error = _as_api_error(status, body)
    attempt.record(Answerer.NOBODY, status, error=error.message)
    passed: Headers = [(name, headers[name]) for name in _PASSED_HEADERS if name in headers]
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
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = _OpenAIError(message=f"the teacher refused with status {status}")
    code = found.code if isinstance(found.code, str) else None  # vLLM's code is a number, OpenAI's a string or null
    error = UpstreamError(found.message or f"the teacher refused with status {status}", param=found.param)
    error.code = code
    error.type = found.type or ("server_error" if status >= 500 else "invalid_request_error")
    return error
