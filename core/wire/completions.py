"""What is read of a completion, whole or in chunks, the vendor field of our own servers included."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import msgspec

from core.labels import LabelSet, unpack_floats
from core.records import StudentAnswer, Usage
from core.wire.counts import counted

_NOTHING = Usage()


class VendorField(msgspec.Struct, omit_defaults=True):
    """The field `tutelage` of a student's completion: what the gateway needs beyond OpenAI's shape.

    `distribution` and `vector` are base64 of packed float16 (see `core.labels.pack_floats`).
    """

    version: str
    label: str
    confidence: float
    label_set: str
    distribution: str = ""
    vector: str = ""

    def answer(self) -> StudentAnswer:
        """The same as a record. Raises ValueError where something is not packed as it should be."""
        distribution = base64.b64decode(self.distribution)
        if len(distribution) % 2:
            raise ValueError("packed float16 values have an even number of bytes")
        return StudentAnswer(
            version=self.version,
            label=self.label,
            confidence=self.confidence,
            label_set=self.label_set,
            distribution=distribution,
            vector=base64.b64decode(self.vector),
        )

    def expanded(self, labels: LabelSet) -> dict[str, Any]:
        """The field as a client reads it: the distribution as an object from label to probability."""
        probabilities = unpack_floats(base64.b64decode(self.distribution))
        expanded: dict[str, Any] = {"version": self.version, "label": self.label, "confidence": self.confidence}
        if len(probabilities) == len(labels):
            expanded["distribution"] = dict(zip(labels.names, probabilities, strict=True))
        return expanded


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = 0
    completion_tokens: int | None = 0


class _Message(msgspec.Struct):
    content: Any = None


class _TopLogprob(msgspec.Struct):
    token: str
    logprob: float


class _TokenLogprob(msgspec.Struct):
    token: str
    logprob: float
    top_logprobs: list[_TopLogprob] = []


class _Logprobs(msgspec.Struct):
    content: list[_TokenLogprob] | None = None


class _Choice(msgspec.Struct):
    message: _Message = msgspec.field(default_factory=_Message)
    logprobs: _Logprobs | None = None
    finish_reason: str | None = None


class Completion(msgspec.Struct):
    """What we read of a chat completion."""

    choices: list[_Choice]
    id: str = ""
    model: str = ""
    usage: _Usage | None = None
    tutelage: VendorField | None = None

    @classmethod
    def of_text(
        cls,
        text: str | None,
        *,
        identifier: str = "",
        model: str = "",
        usage: Usage = _NOTHING,
        first_token: Mapping[str, float] | None = None,
    ) -> Completion:
        """The same of an answer in another shape. `first_token` maps alternatives to their log-probabilities."""
        tops = [_TopLogprob(token, logprob) for token, logprob in (first_token or {}).items()]
        logprobs = _Logprobs([_TokenLogprob(tops[0].token, tops[0].logprob, tops)]) if tops else None
        counted = _Usage(usage.prompt_tokens, usage.completion_tokens)
        return cls([_Choice(_Message(text), logprobs)], identifier, model, counted)

    @property
    def content(self) -> str | None:
        """Text of the first choice, or None."""
        content = self.choices[0].message.content if self.choices else None
        return content if isinstance(content, str) else None

    @property
    def tokens(self) -> Usage:
        """Tokens as counted by whoever answered; zeros where it did not say."""
        usage = self.usage or _Usage()
        return counted(usage.prompt_tokens, usage.completion_tokens)

    @property
    def first_token_logprobs(self) -> dict[str, float]:
        """Log-probabilities of the alternatives for the first token of the first choice; empty where not offered."""
        logprobs = self.choices[0].logprobs if self.choices else None
        if logprobs is None or not logprobs.content:
            return {}
        first = logprobs.content[0]
        return {top.token: top.logprob for top in first.top_logprobs} or {first.token: first.logprob}


class _Delta(msgspec.Struct):
    content: Any = None


class _ChunkChoice(msgspec.Struct):
    delta: _Delta = msgspec.field(default_factory=_Delta)
    finish_reason: str | None = None


class Chunk(msgspec.Struct):
    """What we read of a chunk of a streamed completion."""

    choices: list[_ChunkChoice] = []
    id: str = ""
    model: str = ""
    usage: _Usage | None = None
    error: Any = None
    tutelage: VendorField | None = None


_completion_decoder = msgspec.json.Decoder(Completion)
_chunk_decoder = msgspec.json.Decoder(Chunk)


def decode_completion(body: bytes) -> Completion:
    """Decode what we need of an upstream's completion. Raises ValueError where it is none."""
    return _completion_decoder.decode(body)  # msgspec's errors are ValueErrors


def decode_chunk(data: bytes) -> Chunk:
    """Decode what we need of one chunk of a stream. Raises ValueError where it is none."""
    return _chunk_decoder.decode(data)
