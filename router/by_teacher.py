"""Asking the teacher, or the default upstream, and passing on what it says.

One that answers with labels by itself (`ask: forward`) is passed through untouched, whole or as a stream. One that
chooses among numbered labels (`ask: choose`) is asked for a whole answer, which goes out as the label it stands for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Final

from core import wire
from core.errors import ApiError, InvalidRequestError, UpstreamError
from core.records import Answerer, Usage
from core.teacher import label_request, read_answer
from router.attempt import Attempt, pass_error
from router.by_student import send_label
from router.call import Call
from router.client import Client
from router.dialects import Dialect, LabelAnswer, Request, chat_body
from router.recorder import Recorder
from router.refusal import hide_key
from router.relay import relay_stream
from router.tasks import Target, Task
from router.vendor import somebodys_without_vendor

_CHAT_PATH: Final = b"/chat/completions"


async def answer_by_teacher(
    client: Client,
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
    attempt = Attempt(client, call, target, dialect, request, body, recorder, deadline)
    try:
        text = call.text if dialect.says_labels else None
        if isinstance(target, Task) and text is not None and _reads_text(target, request, text):
            await _ask_for_label(attempt, target, text)
        elif not target.speaks(dialect.name):
            await _put_as_chat(attempt)
        elif request.stream:
            await relay_stream(attempt)
        else:
            await _forward(attempt)
    except ApiError as error:
        hide_key(error, target.teacher.key)
        attempt.record(Answerer.NOBODY, error.status, error=error.message)
        raise
    except asyncio.CancelledError:
        usage = Usage(request.prompt_tokens, 0)  # nobody knows what it had said: the prompt at least is billed
        attempt.record(Answerer.NOBODY, 499, error="the client went away", complete=False, usage=usage)
        raise


async def _forward(attempt: Attempt) -> None:
    call, target, dialect, request = attempt.call, attempt.target, attempt.dialect, attempt.request
    path = f"/{dialect.upstream_path}".encode()
    raw = await _ask(attempt, path, dialect.upstream_body(attempt.body, request, target.upstream_model(request.model)))
    if raw is None:
        return
    completion = dialect.read(raw)
    spread = _spread(target, completion)
    if completion.tutelage is not None and target.labels is not None:
        raw = somebodys_without_vendor(raw, completion.tutelage, target.labels, wanted=call.wants_vendor)
    attempt.record_answer(completion, completion.content, spread)
    await attempt.client.answer(200, raw, call.answered_lines())


def _reads_text(task: Task, request: Request, text: str) -> bool:
    """Whether the teacher is asked about the text alone, rather than shown the request.

    So is one that chooses among labels, and one that Tutelage fitted itself where the prompt is another than its own:
    it reads texts as a student does.
    """
    return task.chooses or (task.settings.teacher.linear_probe is not None and request.messages != [("user", text)])


async def _ask_for_label(attempt: Attempt, task: Task, text: str) -> None:
    completion = await _ask_chat(attempt, label_request(text, task.labels, task.settings.teacher))
    if completion is None:
        return
    answer = read_answer(completion, task.labels, task.settings.teacher)
    if answer.label is None:
        raise UpstreamError("the teacher answered with something that is none of the task's labels")
    await _say(attempt, completion, answer.label, answer.distribution)


async def _put_as_chat(attempt: Attempt) -> None:
    """Ask by chat, of a teacher that does not serve the client's address, and say its text in the client's dialect."""
    target, dialect, request = attempt.target, attempt.dialect, attempt.request
    if request.messages is None:
        raise InvalidRequestError(
            f"the teacher of {target.name!r} does not serve {dialect.path}, and this request holds more than text, so "
            "that it cannot be put to it as chat; ask at /v1/chat/completions"
        )
    body = chat_body(request, target.upstream_model(request.model), logprobs=True)
    completion = await _ask_chat(attempt, body)
    if completion is None:
        return
    if completion.content is None:
        raise UpstreamError("the teacher answered without a text")
    await _say(attempt, completion, completion.content, _spread(target, completion))


def _spread(target: Target, completion: wire.Completion) -> Mapping[str, float]:
    """The distribution over a task's labels that a completion holds; empty where it holds none, or there is no task."""
    if not isinstance(target, Task):
        return {}
    return read_answer(completion, target.labels, target.settings.teacher).distribution


async def _say(attempt: Attempt, completion: wire.Completion, text: str, spread: Mapping[str, float]) -> None:
    """Record what the teacher said by chat, then say it in the client's dialect."""
    attempt.record_answer(completion, text, spread)
    likeliest = sorted(spread.items(), key=lambda pair: -pair[1])
    said = LabelAnswer(attempt.call.id, text, completion.tokens, likeliest)
    await send_label(attempt.client, attempt.call, attempt.dialect, attempt.request, said)


async def _ask_chat(attempt: Attempt, body: bytes) -> wire.Completion | None:
    """Ask by chat, whatever the client's dialect; None where the teacher refused."""
    raw = await _ask(attempt, _CHAT_PATH, body)
    if raw is None:
        return None
    try:
        return wire.decode_completion(raw)
    except (ValueError, RecursionError) as error:
        raise UpstreamError("the teacher's answer is not a chat completion") from error


async def _ask(attempt: Attempt, path: bytes, body: bytes) -> bytes | None:
    """Ask for a whole answer; None where the upstream refused, which has been passed on then."""
    call, teacher = attempt.call, attempt.target.teacher
    asked = time.perf_counter()
    span = call.begin_span(attempt.target.upstream_model(attempt.request.model), teacher)
    status, failure = None, None
    try:
        response = await teacher.request(path, body, call.trace if span is None else span.headers, attempt.deadline)
        status = response.status
    except ApiError as error:
        failure = error.code
        raise
    finally:
        call.upstream_seconds += time.perf_counter() - asked
        if span is not None:
            span.end(status, error=failure)
    if status != 200:
        await pass_error(attempt, response.status, response.headers, response.body)
        return None
    return response.body
