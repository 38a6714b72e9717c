"""What the upstream of `benchmarks.gateway` says, made once: a student's answer, and the pieces of a stream."""

from __future__ import annotations

import base64
import random
from collections.abc import Sequence
from typing import Any, Final

from core import wire
from core.labels import LabelSet, pack_floats
from core.records import Usage

LABELS: Final = tuple(f"intent_{number:02d}" for number in range(77))
"""As many as Banking77 has: the distribution and its bytes are as long as real ones."""
TASK: Final = "intents"
ANSWER: Final = LABELS[7]
EVENTS: Final = 50
"""Events of a stream, where the request does not say."""

_VECTOR: Final = 64
_USAGE: Final = {"prompt_tokens": 24, "completion_tokens": EVENTS, "total_tokens": 24 + EVENTS}


class Stock:
    """Everything that goes over the wire, as bytes."""

    def __init__(self, version: str) -> None:
        """`version` is what the student claims to be."""
        self.whole = http_answer(whole_answer(version))
        self.models = http_answer(models_page(version))
        self.fine = http_answer(b'{"status":"ok"}')
        self.missing = http_answer(b'{"error":{"message":"there is nothing here"}}', b"404 Not Found")
        self.stream_head = (
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )
        self.event = _piece(_event({"content": " word"}))
        self.last_event = _piece(_event({}, "stop"))
        self.usage = _piece(wire.event(wire.encode_json(_chunk([]) | {"usage": _USAGE})))
        self.done = _piece(wire.DONE) + b"0\r\n\r\n"


def whole_answer(version: str) -> bytes:
    """A student's completion: what a classifier over `LABELS` says, with its distribution and vector."""
    rest = 0.08 / (len(LABELS) - 1)
    spread = [0.92 if label == ANSWER else rest for label in LABELS]
    rng = random.Random(7)
    vendor = wire.VendorField(
        version=version,
        label=ANSWER,
        confidence=0.92,
        label_set=LabelSet(LABELS).version,
        distribution=base64.b64encode(pack_floats(spread)).decode("ascii"),
        vector=base64.b64encode(pack_floats([rng.gauss(0, 1) for _ in range(_VECTOR)])).decode("ascii"),
    )
    return wire.completion_body(
        identifier="chatcmpl-benchmark", model=TASK, label=ANSWER, usage=Usage(24, 1), vendor=vendor
    )


def models_page(version: str) -> bytes:
    """`/v1/models` as the student server writes it."""
    served = {"champion": version, "challenger": None, "label_set": LabelSet(LABELS).version}
    return wire.encode_json({"object": "list", "data": [wire.model_object(TASK, 0) | {"tutelage": served}]})


def http_answer(body: bytes, status: bytes = b"200 OK") -> bytes:
    """A whole answer of JSON, head and body."""
    head = b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % (status, len(body)) + body


def _chunk(choices: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": "chatcmpl-benchmark",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": TASK,
        "choices": list(choices),
    }


def _event(delta: dict[str, str], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return wire.event(wire.encode_json(_chunk([choice])))


def _piece(data: bytes) -> bytes:
    """One piece of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)
