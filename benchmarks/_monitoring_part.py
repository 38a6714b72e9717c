"""What each part of `benchmarks.monitoring` hands back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks._report import Claim


@dataclass(frozen=True, slots=True)
class Part:
    """One part: its figures, what it claims of them, and how they are drawn."""

    name: str
    """A word, such as `delay`: the key of its figures in the JSON, and of its plot's file name."""
    tables: Sequence[Table]
    claims: Sequence[Claim]
    figures: dict[str, Any]
    """JSON: everything that was measured."""
    closing: str
    """Its part of the closing line."""
    draw: Callable[[Path], None]
    """Draw the figures as PNG; matplotlib is imported there."""
