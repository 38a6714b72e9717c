"""What a server of OpenAI's protocol says at addresses other than chat: plain documents, as small as clients take."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

Document = dict[str, Any]


def whole(path: str, request: Document, text: str, prompt_tokens: int) -> Document | None:
    """The whole answer at `path`; None for an address that is not known here."""
    if path.endswith("/completions") and not path.endswith("/chat/completions"):
        choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": "stop"}
        return _text_completion(request, [choice], _usage(prompt_tokens))
    if path.endswith("/responses"):
        return _response(request, text, "completed", prompt_tokens)
    if path.endswith("/embeddings"):
        data = [{"object": "embedding", "index": 0, "embedding": [0.25, -0.5]}]
        usage = {"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens}
        return {"object": "list", "data": data, "model": request["model"], "usage": usage}
    return None


def events(path: str, request: Document, text: str, prompt_tokens: int) -> Iterator[str] | None:
    """The framed events of a streamed answer at `path`; None for an address that is not known here."""
    if path.endswith("/completions") and not path.endswith("/chat/completions"):
        return _completion_events(request, text, prompt_tokens)
    if path.endswith("/responses"):
        return _response_events(request, text, prompt_tokens)
    return None


def _completion_events(request: Document, text: str, prompt_tokens: int) -> Iterator[str]:
    for piece, finish in ((text[:3], None), (text[3:], "stop")):
        choice = {"index": 0, "text": piece, "logprobs": None, "finish_reason": finish}
        yield f"data: {json.dumps(_text_completion(request, [choice], None))}\n\n"
    if (request.get("stream_options") or {}).get("include_usage"):
        yield f"data: {json.dumps(_text_completion(request, [], _usage(prompt_tokens)))}\n\n"
    yield "data: [DONE]\n\n"


def _response_events(request: Document, text: str, prompt_tokens: int) -> Iterator[str]:
    begun = {"response": _response(request, "", "in_progress", prompt_tokens) | {"output": [], "usage": None}}
    part = {"item_id": "msg_teacher", "output_index": 0, "content_index": 0}
    done = _response(request, text, "completed", prompt_tokens)
    message = done["output"][0]
    steps: list[tuple[str, Document]] = [
        ("response.created", begun),
        ("response.output_item.added", {"output_index": 0, "item": message | {"content": []}}),
        ("response.content_part.added", part | {"part": message["content"][0] | {"text": ""}}),
        ("response.output_text.delta", part | {"delta": text[:3], "logprobs": []}),
        ("response.output_text.delta", part | {"delta": text[3:], "logprobs": []}),
        ("response.output_text.done", part | {"text": text, "logprobs": []}),
        ("response.content_part.done", part | {"part": message["content"][0]}),
        ("response.output_item.done", {"output_index": 0, "item": message}),
        ("response.completed", {"response": done}),
    ]
    for number, (kind, fields) in enumerate(steps):
        yield f"event: {kind}\ndata: {json.dumps({'type': kind, 'sequence_number': number} | fields)}\n\n"


def _text_completion(request: Document, choices: list[Document], usage: Document | None) -> Document:
    head = {"id": "cmpl-teacher", "object": "text_completion", "created": 1, "model": request["model"]}
    return head | {"choices": choices} | ({"usage": usage} if usage is not None else {})


def _response(request: Document, text: str, status: str, prompt_tokens: int) -> Document:
    content = [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}]
    message = {"type": "message", "id": "msg_teacher", "role": "assistant", "status": "completed", "content": content}
    usage = {
        "input_tokens": prompt_tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": prompt_tokens + 2,
    }
    return {
        "id": "resp_teacher",
        "object": "response",
        "created_at": 1,
        "model": request["model"],
        "status": status,
        "metadata": request.get("metadata") or {},
        "output": [message],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": request.get("tools") or [],
        "usage": usage,
        "a_field_of_tomorrow": {"kept": True},
    }


def _usage(prompt_tokens: int) -> Document:
    return {"prompt_tokens": prompt_tokens, "completion_tokens": 2, "total_tokens": prompt_tokens + 2}
