"""What is read of the body of a request to `/v1/responses`."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from core import wire
from core.errors import InvalidRequestError
from core.templates import text_of

TEXT_PARTS: Final = ("input_text", "output_text")
_LOGPROBS: Final = "message.output_text.logprobs"


class TextOptions(msgspec.Struct):
    """`text` of a request: the format that the answer must have, and how wordy it is."""

    format: Any = None
    verbosity: Any = None


class ResponsesBody(msgspec.Struct):
    """What we read of a request. Whatever else it holds is passed on untouched."""

    model: str
    input: Any = None
    instructions: Any = None
    stream: bool | None = False
    include: list[Any] | None = None
    top_logprobs: int | None = None
    user: str | None = None
    safety_identifier: str | None = None
    max_output_tokens: wire.Count | None = None
    # What a classifier cannot do.
    tools: list[Any] | None = None
    text: TextOptions | None = None
    background: bool | None = False
    store: bool | None = None
    previous_response_id: str | None = None
    conversation: Any = None
    prompt: Any = None
    context_management: Any = None
    # What an answer repeats.
    metadata: dict[str, msgspec.Raw] | None = None
    temperature: float | None = None
    top_p: float | None = None
    parallel_tool_calls: bool | None = True
    prompt_cache_key: str | None = None

    def check(self) -> None:
        """Raise InvalidRequestError where something is missing or out of bounds."""
        if self.input is None and not self._needs_history:
            raise InvalidRequestError("input is missing; send a text, or a list of messages", param="input")
        if self.top_logprobs is not None and not 0 <= self.top_logprobs <= wire.MAX_TOP_LOGPROBS:
            raise InvalidRequestError(
                f"top_logprobs must be between 0 and {wire.MAX_TOP_LOGPROBS}", param="top_logprobs"
            )

    @property
    def logprobs(self) -> int | None:
        """How many alternatives a token are wanted; None: no log-probabilities."""
        wanted = self.include is not None and _LOGPROBS in self.include
        return (self.top_logprobs or 0) if wanted else None

    def messages(self) -> list[tuple[str, str]] | None:
        """The equivalent chat messages as `(role, text)`; None where there are none, or a classifier cannot do it."""
        if self._beyond_classifier or not isinstance(self.instructions, str | None):
            return None
        pairs = [("system", self.instructions)] if self.instructions else []
        if isinstance(self.input, str):
            return [*pairs, ("user", self.input)]
        if not isinstance(self.input, list) or not self.input:
            return None
        for item in self.input:
            pair = _pair(item)
            if pair is None:
                return None
            pairs.append(pair)
        return pairs

    def repeated(self) -> dict[str, Any]:
        """What the answer repeats of the request."""
        asked = self.text.verbosity if self.text is not None else None
        verbosity = asked if isinstance(asked, str) else "medium"
        return {
            "instructions": self.instructions,
            "max_output_tokens": self.max_output_tokens,
            "metadata": self.metadata or {},
            "parallel_tool_calls": self.parallel_tool_calls is not False,
            "prompt_cache_key": self.prompt_cache_key,
            "safety_identifier": self.safety_identifier,
            "temperature": 1.0 if self.temperature is None else self.temperature,
            "text": {"format": {"type": "text"}, "verbosity": verbosity},
            "top_logprobs": self.top_logprobs or 0,
            "top_p": 1.0 if self.top_p is None else self.top_p,
            "user": self.user,
        }

    @property
    def _needs_history(self) -> bool:
        """Whether it builds on what the upstream keeps, or asks that this be kept."""
        return bool(
            self.previous_response_id or self.conversation or self.prompt or self.store or self.context_management
        )

    @property
    def _beyond_classifier(self) -> bool:
        asked = self.text.format if self.text is not None else None
        return bool(self.tools or self.background or self._needs_history or asked not in (None, {"type": "text"}))


def _pair(item: object) -> tuple[str, str] | None:
    """A message of the input as `(role, text)`; None where it is something else."""
    if not isinstance(item, dict) or item.get("type", "message") != "message":
        return None
    role, text = item.get("role"), text_of(item.get("content"), TEXT_PARTS)
    return (role, text) if isinstance(role, str) and text is not None else None
