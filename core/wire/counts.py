"""Numbers of tokens and the like, as others write them: JSON has integers of any size, and below zero."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from core.records import Usage

MAX_COUNT: Final = 2**31 - 1
"""More than anybody can ask for."""

_MAX_TOLD: Final = 2**53 - 1
"""The greatest whole number that every reader of JSON holds exactly."""

Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNT)]
"""A number that a client may ask for. Below zero, it would give back to a limit what was never taken from it."""


def counted(prompt_tokens: int | None, completion_tokens: int | None = 0) -> Usage:
    """The usage that an upstream tells of, within bounds: an answer is worth having though its numbers are absurd."""
    return Usage(_bounded(prompt_tokens), _bounded(completion_tokens))


def _bounded(value: int | None) -> int:
    return value if value is not None and 0 <= value <= _MAX_TOLD else min(max(value or 0, 0), _MAX_TOLD)
