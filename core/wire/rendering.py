"""A label as a chat completion, whole or as the events of a stream."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from typing import Any

from core.records import Usage
from core.wire.completions import VendorField
from core.wire.encoding import encode_json
from core.wire.events import DONE, event

MAX_TOP_LOGPROBS = 20
"""OpenAI offers at most this many alternatives a token."""

_FLOOR = 1e-7
"""Probabilities are floored here before the logarithm: JSON has no minus infinity."""


def completion_body(
    *,
    identifier: str,
    model: str,
    label: str,
    usage: Usage,
    distribution: Sequence[tuple[str, float]] | None = None,
    top: int = MAX_TOP_LOGPROBS,
    vendor: VendorField | dict[str, Any] | None = None,
) -> bytes:
    """Render a label as a chat completion.

    `distribution` holds `(label, probability)` pairs, likeliest first, for `logprobs`; None where they were not asked
    for. At most `top` of them are shown. The vendor field stands last.
    """
    document: dict[str, Any] = {
        "id": identifier,
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": label, "refusal": None},
                "logprobs": _logprobs(label, distribution, top),
                "finish_reason": "stop",
            }
        ],
        "usage": usage_object(usage),
    }
    if vendor is not None:
        document["tutelage"] = vendor
    return encode_json(document)


def completion_events(
    *,
    identifier: str,
    model: str,
    label: str,
    usage: Usage,
    include_usage: bool,
    distribution: Sequence[tuple[str, float]] | None = None,
    top: int = MAX_TOP_LOGPROBS,
    vendor: VendorField | dict[str, Any] | None = None,
) -> Iterator[bytes]:
    """Render a label as the server-sent events of a streamed chat completion, `[DONE]` included."""
    head: dict[str, Any] = {
        "id": identifier,
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": model,
    }
    if include_usage:
        head["usage"] = None
    logprobs = _logprobs(label, distribution, top)
    steps: list[tuple[dict[str, Any], dict[str, Any] | None, str | None]] = [
        ({"role": "assistant", "content": ""}, None, None),
        ({"content": label}, logprobs, None),
        ({}, None, "stop"),
    ]
    for delta, delta_logprobs, finish in steps:
        choice = {"index": 0, "delta": delta, "logprobs": delta_logprobs, "finish_reason": finish}
        chunk = head | {"choices": [choice]}
        if finish is not None and vendor is not None:
            chunk["tutelage"] = vendor
        yield event(encode_json(chunk))
    if include_usage:
        yield event(encode_json(head | {"choices": [], "usage": usage_object(usage)}))
    yield DONE


def logprob_of(probability: float) -> float:
    """The natural logarithm of a probability, floored: JSON has no minus infinity."""
    return math.log(max(probability, _FLOOR))


def token_logprobs(
    label: str, distribution: Sequence[tuple[str, float]], top: int = MAX_TOP_LOGPROBS
) -> dict[str, Any]:
    """The log-probability of `label`, taken as one token, with the `top` likeliest alternatives."""
    tops = [_token(name, probability) for name, probability in distribution[: min(top, MAX_TOP_LOGPROBS)]]
    chosen = next((probability for name, probability in distribution if name == label), 0.0)
    return _token(label, chosen) | {"top_logprobs": tops}


def usage_object(usage: Usage) -> dict[str, int]:
    """Usage as completions carry it."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }


def _logprobs(label: str, distribution: Sequence[tuple[str, float]] | None, top: int) -> dict[str, Any] | None:
    return None if distribution is None else {"content": [token_logprobs(label, distribution, top)], "refusal": None}


def _token(token: str, probability: float) -> dict[str, Any]:
    return {"token": token, "logprob": logprob_of(probability), "bytes": list(token.encode())}
