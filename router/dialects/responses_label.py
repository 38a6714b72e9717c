"""A label as a response object, and as the typed events of which OpenAI's clients build one."""

from __future__ import annotations

import time
from typing import Any, Final

import msgspec

from core import wire
from router.dialects.base import LabelAnswer, Request

_PLAIN: Final[dict[str, Any]] = {
    "background": False,
    "error": None,
    "incomplete_details": None,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": "default",
    "store": False,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}, "verbosity": "medium"},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}


def response_body(request: Request, answer: LabelAnswer, repeated: dict[str, Any]) -> bytes:
    """Render the whole response. `repeated` holds what it repeats of the request."""
    return wire.encode_json(_Rendering(request, answer, repeated).completed())


def response_events(request: Request, answer: LabelAnswer, repeated: dict[str, Any]) -> bytes:
    """Render all events, `response.created` to `response.completed`, numbered from 0."""
    rendering = _Rendering(request, answer, repeated)
    begun = {"response": msgspec.Raw(wire.encode_json(rendering.begun()))}  # two events hold it: encoded once
    part = {"item_id": rendering.message_id, "output_index": 0, "content_index": 0}
    logprobs = {"logprobs": rendering.logprobs}
    events: tuple[tuple[str, dict[str, Any]], ...] = (
        ("response.created", begun),
        ("response.in_progress", begun),
        ("response.output_item.added", {"output_index": 0, "item": rendering.message("in_progress", [])}),
        ("response.content_part.added", part | {"part": _text("", [])}),
        ("response.output_text.delta", part | {"delta": answer.label} | logprobs),
        ("response.output_text.done", part | {"text": answer.label} | logprobs),
        ("response.content_part.done", part | {"part": rendering.text}),
        ("response.output_item.done", {"output_index": 0, "item": rendering.message("completed", [rendering.text])}),
        ("response.completed", {"response": rendering.completed()}),
    )
    return b"".join(_event(number, kind, fields) for number, (kind, fields) in enumerate(events))


class _Rendering:
    """The pieces of one response."""

    def __init__(self, request: Request, answer: LabelAnswer, repeated: dict[str, Any]) -> None:
        self._answer = answer
        created = int(time.time())
        self._head: dict[str, Any] = {
            "id": answer.id,
            "object": "response",
            "created_at": created,
            "model": request.model,
            **_PLAIN,
            **repeated,
        }
        self._completed_at = created
        self.message_id = "msg_" + answer.id.rpartition("_")[2]
        self.logprobs: list[dict[str, Any]] = []
        if request.logprobs is not None:
            self.logprobs.append(wire.token_logprobs(answer.label, answer.distribution, request.logprobs))
        self.text = _text(answer.label, self.logprobs)

    def message(self, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
        return {"id": self.message_id, "type": "message", "status": status, "role": "assistant", "content": content}

    def begun(self) -> dict[str, Any]:
        return self._head | {"status": "in_progress", "completed_at": None, "output": [], "usage": None}

    def completed(self) -> dict[str, Any]:
        usage = self._answer.usage
        document = self._head | {
            "status": "completed",
            "completed_at": self._completed_at,
            "output": [self.message("completed", [self.text])],
            "usage": {
                "input_tokens": usage.prompt_tokens,
                "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
                "output_tokens": usage.completion_tokens,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": usage.prompt_tokens + usage.completion_tokens,
            },
        }
        if self._answer.vendor is not None:
            document["tutelage"] = self._answer.vendor
        return document


def _text(text: str, logprobs: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs}


def _event(number: int, kind: str, fields: dict[str, Any]) -> bytes:
    document = {"type": kind, "sequence_number": number} | fields
    return b"event: " + kind.encode() + b"\n" + wire.event(wire.encode_json(document))
