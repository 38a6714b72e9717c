"""What the tasks of one process do one at a time, since it keeps the interpreter busy.

Were twenty tasks reviewed and drawn at once, each in a thread, then a scrape would wait behind all of them.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Turns:
    """Shared by the readers of a process; one alone has its own."""

    storing: asyncio.Lock = field(default_factory=asyncio.Lock)
    """To review a state, store it, and draw its page."""
    scoring: asyncio.Lock = field(default_factory=asyncio.Lock)
    """To score a window for drift."""
