"""What a key or a task may use: four numbers, each of them optional."""

from __future__ import annotations

from typing import Final

import msgspec


class Limits(msgspec.Struct, frozen=True):
    """Limits of one key or one task. None: no limit of this kind.

    Rates are token buckets as large as a minute's limit; budgets count from midnight, or from the first of the month,
    in UTC. What exactly holds is said in docs/limits.md.

    Raises ValueError where a rate is below 1 or a budget below 0 (`msgspec.ValidationError` when decoding).
    """

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    dollars_per_day: float | None = None
    dollars_per_month: float | None = None

    def __post_init__(self) -> None:
        """Refuse what could never be kept."""
        for name in ("requests_per_minute", "tokens_per_minute"):
            rate = getattr(self, name)
            if rate is not None and rate < 1:
                raise ValueError(f"{name} must be at least 1; leave it out for no limit, or revoke the key")
        for name in ("dollars_per_day", "dollars_per_month"):
            # Written so that NaN is refused as well.
            if not (getattr(self, name) or 0.0) >= 0.0:
                raise ValueError(f"{name} must be 0 or more; leave it out for no limit")


NO_LIMITS: Final = Limits()
"""Without any limit."""
