"""From a chat request to a student's completion."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import numpy as np

from core import wire
from core.errors import InvalidRequestError
from core.ids import mint, sane_request_id
from core.records import Usage
from core.templates import Template, first_match, flatten
from server.batching import Prediction
from server.versions import Loaded, Versions

_JSON = b"application/json"
_EVENTS = b"text/event-stream; charset=utf-8"


class ClientGoneError(Exception):
    """The client went before it could be answered; there is nobody to send anything to."""


@dataclass(slots=True)
class Call:
    """One request as it is understood, step by step; its metrics are counted from here whatever happens."""

    task: str = "other"
    version: str = "none"


@dataclass(frozen=True, slots=True)
class Rendered:
    """A completion ready to be sent."""

    content_type: bytes
    body: bytes


async def complete(
    versions: Versions,
    body: bytes,
    call: Call,
    *,
    exchange: str | None = None,
    buffered: bool = False,
    disconnected: Callable[[], Awaitable[None]] | None = None,
) -> Rendered:
    """Answer a chat request. Raises ApiError.

    `call` is filled in as the request is understood. `exchange` is the gateway's id and becomes the completion's; one
    is minted where it is missing or not sane. `buffered` answers plainly even where the body asks for a stream.
    `disconnected` returns once the client has gone: its text is then withdrawn from a long queue (ClientGoneError).
    """
    request = wire.decode_chat_request(body)
    task = versions.find_task(request.model)
    if task is not None:
        call.task = task.name
    loaded = versions.pick(request.model)
    call.version = loaded.version
    future = loaded.batcher.submit(_text(request, task.templates if task is not None else ()))
    if disconnected is not None and loaded.batcher.congested:  # watching costs more than a short wait
        prediction = await _unless(disconnected, future)
    else:
        prediction = await future
    return _render(request, loaded, prediction, sane_request_id(exchange) or mint("chatcmpl"), buffered=buffered)


def _text(request: wire.ChatRequest, templates: Sequence[Template]) -> str:
    """The text that the student reads. Raises InvalidRequestError where the request fits no template."""
    if request.beyond_classifier:
        raise InvalidRequestError(
            "this student is a classifier: tools, response_format and n > 1 are beyond it; ask the task's teacher",
            code="template_mismatch",
        )
    messages = flatten(request.messages)
    found = first_match(templates, messages) if messages is not None else None
    if found is None:
        known = ", ".join(template.name for template in templates)
        raise InvalidRequestError(
            f"the messages fit none of the prompt templates that this student was taught ({known}); "
            "ask the task's teacher, or accept the template (`tutelage templates`)",
            param="messages",
            code="template_mismatch",
        )
    return found[1]


async def _unless(disconnected: Callable[[], Awaitable[None]], future: asyncio.Future[Prediction]) -> Prediction:
    """Await `future`, but cancel it and raise ClientGoneError as soon as the client has gone."""
    gone = asyncio.ensure_future(disconnected())
    try:
        await asyncio.wait((future, gone), return_when=asyncio.FIRST_COMPLETED)
        if not future.done():
            raise ClientGoneError
        return await future
    finally:
        future.cancel()
        gone.cancel()


def _render(
    request: wire.ChatRequest, loaded: Loaded, prediction: Prediction, identifier: str, *, buffered: bool
) -> Rendered:
    labels = loaded.student.labels
    probabilities = prediction.probabilities
    best = int(probabilities.argmax())
    label = labels.names[best]
    vendor = wire.VendorField(
        version=loaded.version,
        label=label,
        confidence=float(probabilities[best]),
        label_set=labels.version,
        distribution=base64.b64encode(probabilities.astype("<f2").tobytes()).decode("ascii"),
        vector=base64.b64encode(prediction.vector.astype("<f2").tobytes()).decode("ascii"),
    )
    distribution: list[tuple[str, float]] | None = None
    if request.logprobs:
        order = np.argsort(-probabilities, kind="stable")[: max(request.top_logprobs or 0, 1)]
        distribution = [(labels.names[index], float(probabilities[index])) for index in order]
    usage = Usage(prompt_tokens=prediction.tokens, completion_tokens=1)
    if request.stream and not buffered:
        events = wire.completion_events(
            identifier=identifier,
            model=request.model,
            label=label,
            usage=usage,
            include_usage=request.wants_usage_chunk,
            distribution=distribution,
            vendor=vendor,
        )
        return Rendered(_EVENTS, b"".join(events))
    body = wire.completion_body(
        identifier=identifier, model=request.model, label=label, usage=usage, distribution=distribution, vendor=vendor
    )
    return Rendered(_JSON, body)
