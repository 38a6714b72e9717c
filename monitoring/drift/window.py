"""A window that is full."""

from __future__ import annotations

import msgspec

from monitoring.drift.rows import Row


class Window(msgspec.Struct):
    """Exchanges that are to be compared with the reference."""

    rows: list[Row]
    began: float
    ended: float
    asked: int
    """Exchanges in this time that the student read; `mismatched`: that matched no template."""
    mismatched: int
