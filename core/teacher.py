"""How a teacher is asked for a label, and how its answer is read. Pure functions; the calls are made elsewhere.

Two ways (setting `teacher.ask`). `forward`: the client's own request goes on, with only the model's name replaced; the
teacher answers with a label by itself. `choose`: the teacher is an LLM that knows nothing of the labels; it is shown
them under numbers and asked for a number. Numbers up to 999 are single tokens in the tokenizers in use, so one token of
log-probabilities is a distribution over the labels; without log-probabilities the answer is a vote.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from core import wire
from core.labels import LabelSet, pack_floats, unpack_floats
from core.settings import TeacherSettings

_LOGPROBS = {"logprobs": True, "top_logprobs": wire.MAX_TOP_LOGPROBS}


@dataclass(frozen=True, slots=True)
class TeacherAnswer:
    """A teacher's answer to one text.

    `distribution` maps label to probability (it need not sum to one: an API gives the likeliest tokens only); `method`
    says how it was obtained.
    """

    label: str | None
    distribution: dict[str, float]
    method: Literal["distribution", "logprobs", "vote"]
    prompt_tokens: int
    completion_tokens: int


def forward_request(body: bytes, teacher: TeacherSettings) -> bytes:
    """A client's chat request for the teacher: all bytes kept but for the model's name."""
    return wire.replace_model(body, teacher.model)


def label_request(
    text: str,
    labels: LabelSet,
    teacher: TeacherSettings,
    *,
    logprobs: bool = True,
    messages: Sequence[tuple[str, str]] | None = None,
) -> bytes:
    """A chat request that asks the teacher for the label of `text`.

    `messages` are the `(role, content)` pairs in which clients send it: a teacher that is not asked to choose reads
    those, since they may hold its instructions.
    """
    document: dict[str, Any] = {"model": teacher.model}
    if teacher.ask == "choose":
        document["messages"] = [
            {"role": "system", "content": _choose_prompt(labels, teacher.instructions)},
            {"role": "user", "content": text},
        ]
        document |= {"max_completion_tokens": 4, "temperature": 0}
    else:
        document["messages"] = [{"role": role, "content": content} for role, content in messages or [("user", text)]]
    return wire.encode_json(document | (_LOGPROBS if logprobs else {}))


def read_answer(completion: wire.Completion, labels: LabelSet, teacher: TeacherSettings) -> TeacherAnswer:
    """Read the label, and the distribution where there is one, out of a completion."""
    usage = completion.tokens
    label = _label_of(completion.content, labels, teacher)
    spread = vendor_distribution(completion.tutelage, labels)
    if spread:
        return TeacherAnswer(label, spread, "distribution", usage.prompt_tokens, usage.completion_tokens)
    for token, logprob in completion.first_token_logprobs.items():
        name = _label_of(token, labels, teacher)
        if name is not None:
            spread[name] = spread.get(name, 0.0) + math.exp(min(logprob, 0.0))
    method: Literal["logprobs", "vote"] = "logprobs" if label in spread else "vote"
    return TeacherAnswer(
        label, spread if method == "logprobs" else {}, method, usage.prompt_tokens, usage.completion_tokens
    )


def vendor_distribution(vendor: wire.VendorField | None, labels: LabelSet) -> dict[str, float]:
    """The distribution that a server of ours sends in its field; empty where there is none over these labels."""
    if vendor is None or vendor.label_set != labels.version or not vendor.distribution:
        return {}
    try:
        return dict(zip(labels.names, unpack_floats(vendor.answer().distribution), strict=True))
    except ValueError:
        return {}  # somebody else's server, which uses the field's name for something of its own


def pack_distribution(spread: Mapping[str, float], labels: LabelSet) -> bytes:
    """A teacher's distribution as records hold it: one float16 a label, in their order; nothing where it is empty."""
    return pack_floats([spread.get(name, 0.0) for name in labels.names]) if spread else b""


def _choose_prompt(labels: LabelSet, instructions: str) -> str:
    listed = "\n".join(f"{number}: {name}" for number, name in enumerate(labels.names))
    lead = instructions.strip() or "Classify the user's message."
    return (
        f"{lead}\n\nThe classes:\n{listed}\n\nAnswer with the number of the one class that fits best, and nothing else."
    )


def _label_of(content: str | None, labels: LabelSet, teacher: TeacherSettings) -> str | None:
    if content is not None and teacher.ask == "choose":
        digits = content.strip().rstrip(".")
        if digits.isascii() and digits.isdigit() and int(digits) < len(labels):
            return labels.names[int(digits)]
    return labels.match(content)
