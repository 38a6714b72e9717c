"""Asking the student, and answering with what it said."""

from __future__ import annotations

import time
from typing import Final

from core import wire
from core.errors import ApiError, BreakerOpenError, DeadlineError
from core.labels import unpack_floats
from core.records import StudentAnswer
from router.call import Call
from router.client import Client
from router.dialects import Dialect, LabelAnswer, Request
from router.policy import Failure
from router.recorder import Recorder
from router.tasks import Task
from router.upstream import Upstream
from router.vendor import without_vendor

_PATH: Final = b"/v1/chat/completions"
_BUFFER: Final = (b"x-tutelage-buffer", b"1")


class Said:
    """What the student said: the completion as it came, and read."""

    __slots__ = ("answer", "completion", "raw", "vendor")

    def __init__(self, raw: bytes, completion: wire.Completion, vendor: wire.VendorField) -> None:
        self.raw = raw
        self.completion = completion
        self.vendor = vendor
        self.answer: StudentAnswer = vendor.answer()


async def ask_student(
    student: Upstream, call: Call, dialect: Dialect, request: Request, body: bytes, model: str, seconds: float
) -> Said | Failure:
    """Send the request to the student's `model` and return what it said. It has `seconds` for it.

    It is asked for a whole answer even where the client wants a stream: only with the confidence at hand can the
    gateway decide whether the student may answer.
    """
    asked = time.perf_counter()
    span = call.begin_span(model, student)
    trace = call.trace if span is None else span.headers
    headers = ((b"x-tutelage-exchange", call.id.encode()), _BUFFER, *trace)
    status, failure = None, None
    try:
        deadline = time.monotonic() + seconds  # the event loop's clock too, and asking for the loop is a system call
        response = await student.request(_PATH, dialect.student_body(body, request, model), headers, deadline)
        status = response.status
        if status != 200:
            return Failure.BROKEN
        completion = wire.decode_completion(response.body)
        if completion.tutelage is None or completion.content is None:
            return Failure.BROKEN
        return Said(response.body, completion, completion.tutelage)
    except ApiError as error:
        failure = error.code
        if isinstance(error, DeadlineError):
            return Failure.LATE
        return Failure.BREAKER_OPEN if isinstance(error, BreakerOpenError) else Failure.BROKEN
    except ValueError:  # msgspec's and base64's errors are ValueErrors
        return Failure.BROKEN
    finally:
        call.upstream_seconds += time.perf_counter() - asked
        if span is not None:
            span.end(status, model=model, error=failure)


async def answer_by_student(
    client: Client,
    call: Call,
    task: Task,
    dialect: Dialect,
    request: Request,
    body: bytes,
    said: Said,
    recorder: Recorder,
) -> None:
    """Record, then answer: the student's bytes less the vendor field, or the same in the client's dialect."""
    recorder.exchange(call.student_exchange(task, request, body, said.vendor.label, said.completion.tokens))
    if dialect.name == "chat" and not request.stream:
        raw = without_vendor(said.raw, said.vendor, task.labels, wanted=call.wants_vendor)
        await client.answer(200, raw, call.answered_lines())
        return
    spread = likeliest(said.answer, task) if request.logprobs is not None else []
    vendor = said.vendor.expanded(task.labels) if call.wants_vendor else None
    answer = LabelAnswer(call.id, said.vendor.label, said.completion.tokens, spread, vendor)
    await send_label(client, call, dialect, request, answer)


async def send_label(client: Client, call: Call, dialect: Dialect, request: Request, answer: LabelAnswer) -> None:
    """Answer with a label in the client's dialect, whole or as a stream."""
    if request.stream:
        await client.start(call.answered_lines())
        await client.send(dialect.events(request, answer), last=True)
    else:
        await client.answer(200, dialect.whole(request, answer), call.answered_lines())


def likeliest(answer: StudentAnswer, task: Task) -> list[tuple[str, float]]:
    """The student's labels with their probabilities, likeliest first."""
    values = unpack_floats(answer.distribution)
    if len(values) != len(task.labels):
        return [(answer.label, answer.confidence)]
    return sorted(zip(task.labels.names, values, strict=True), key=lambda pair: -pair[1])
