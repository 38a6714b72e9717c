"""Ids of exchanges, minted here and never taken from a client.

A client that chose its ids could choose whether it is sampled, and could overwrite another's exchange. An id is 48 bits
of milliseconds and 80 random bits, in hexadecimal: sortable by time, and unguessable.
"""

from __future__ import annotations

import os
import re
import time

_CLIENT_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_MINTED = re.compile(r"[0-9a-f]{32}")
_TIME_DIGITS = 12
_RANDOM_BYTES = 10
_MINTED_AT_ONCE = 256


def mint(prefix: str = "ex") -> str:
    """Return a new id such as `ex_019dbf3c5a7e4b1f9c02d8e6a1b34c77`."""
    return f"{prefix}_{int(time.time() * 1000):012x}{os.urandom(_RANDOM_BYTES).hex()}"


class Minter:
    """Mints many ids: random bits are taken from the system for hundreds of them at once. For one thread."""

    __slots__ = ("_block", "_used")

    def __init__(self) -> None:
        self._block = b""
        self._used = 0

    def __call__(self, at: float) -> str:
        """The id of an exchange that came at `at`, in seconds since the epoch (UTC)."""
        used = self._used
        if used >= len(self._block):
            self._block, used = os.urandom(_RANDOM_BYTES * _MINTED_AT_ONCE), 0
        self._used = end = used + _RANDOM_BYTES
        return f"ex_{int(at * 1000):012x}{self._block[used:end].hex()}"


def minted_at(identifier: str) -> float:
    """Return the time (seconds since the epoch) at which `identifier` was minted.

    Raises ValueError where it is not one of ours.
    """
    digits = identifier.rpartition("_")[2]
    if not _MINTED.fullmatch(digits):
        raise ValueError(f"{identifier!r} was not minted by Tutelage")
    return int(digits[:_TIME_DIGITS], 16) / 1000


def sane_request_id(value: str | None) -> str | None:
    """Return a client's `x-request-id` where it may be echoed (printable, at most 128 characters), else None."""
    return value if value is not None and _CLIENT_ID.fullmatch(value) else None
