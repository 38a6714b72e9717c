"""Asking the student, and answering with what it said."""

from __future__ import annotations

import time

from starlette.types import Send

from core import wire
from core.labels import unpack_floats
from core.records import Answerer, StudentAnswer, Usage
from router.call import Call
from router.pool import Pool, PoolError
from router.recorder import Recorder
from router.respond import send_events, send_json, start_events
from router.tasks import Task
from router.vendor import without_vendor

_PATH = "/v1/chat/completions"


async def ask_student(
    pool: Pool, call: Call, task: Task, request: wire.ChatRequest, body: bytes
) -> tuple[wire.Completion, bytes] | None:
    """Send the request to the student and return its completion, decoded and as bytes; None where it failed.

    It is asked for a whole answer even where the client wants a stream: only with the confidence at hand can the
    gateway decide whether the student may answer.
    """
    if request.model != task.name:
        body = wire.replace_model(body, task.name)
    asked = time.perf_counter()
    try:
        response = await pool.request(
            "POST", _PATH, body, ((b"x-tutelage-exchange", call.id.encode()), (b"x-tutelage-buffer", b"1"))
        )
        completion = wire.decode_completion(response.body) if response.status == 200 else None
    except (PoolError, TimeoutError, ValueError):
        return None
    finally:
        call.upstream_seconds += time.perf_counter() - asked
    if completion is None or completion.tutelage is None or completion.content is None:
        return None
    return completion, response.body


async def answer_by_student(
    send: Send,
    call: Call,
    task: Task,
    request: wire.ChatRequest,
    body: bytes,
    completion: wire.Completion,
    raw: bytes,
    recorder: Recorder,
) -> None:
    """Record, then answer: the student's bytes less the vendor field, or the same as a stream."""
    vendor = completion.tutelage
    if vendor is None:
        raise ValueError("a student's completion without the vendor field cannot be judged")
    recorder.exchange(
        call.exchange(
            task,
            request,
            body,
            answered_by=Answerer.STUDENT,
            model=task.name,
            output=vendor.label,
            usage=completion.tokens,
        )
    )
    if request.stream:
        expanded = vendor.expanded(task.labels) if call.wants_vendor else None
        await send_label_stream(
            send, call, request, task, label=vendor.label, answer=call.answer, usage=completion.tokens, vendor=expanded
        )
    else:
        answer = without_vendor(raw, vendor, task.labels, wanted=call.wants_vendor)
        await send_json(send, 200, answer, call.answered_headers())


async def send_label_stream(
    send: Send,
    call: Call,
    request: wire.ChatRequest,
    task: Task,
    *,
    label: str,
    answer: StudentAnswer | None,
    usage: Usage,
    spread: list[tuple[str, float]] | None = None,
    vendor: dict[str, object] | None = None,
) -> None:
    """Answer with a label as a stream of events. `spread` gives the likeliest labels where there is no `answer`."""
    if answer is not None:
        spread = likeliest(answer, task)
    events = wire.completion_events(
        identifier=call.id,
        model=request.model,
        label=label,
        usage=usage,
        include_usage=request.wants_usage_chunk,
        distribution=top_of(request, spread),
        vendor=vendor,
    )
    await start_events(send, call.answered_headers())
    await send_events(send, b"".join(events), last=True)


def likeliest(answer: StudentAnswer, task: Task) -> list[tuple[str, float]]:
    """The student's labels with their probabilities, likeliest first."""
    values = unpack_floats(answer.distribution)
    if len(values) != len(task.labels):
        return [(answer.label, answer.confidence)]
    return sorted(zip(task.labels.names, values, strict=True), key=lambda pair: -pair[1])


def top_of(request: wire.ChatRequest, spread: list[tuple[str, float]] | None) -> list[tuple[str, float]] | None:
    """As many of the likeliest labels as the client asked for; None where it did not ask for log-probabilities."""
    if not request.logprobs or spread is None:
        return None
    return spread[: request.top_logprobs or 0] or []
