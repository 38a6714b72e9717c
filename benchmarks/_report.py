"""What all benchmarks share: their options, claims with bounds, JSON, and one closing line.

A claim holds, does not hold, or is not judged (in `--quick`, which is too small for it). A benchmark ends with exit
code 1 where a judged claim does not hold.
"""

from __future__ import annotations

import argparse
import math
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.table import Table

_LEAST_WIDTH: Final = 120
_FIGURES_WIDTH: Final = 100  # of the claims' other columns


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim: what was measured against its bound. `bound` None: not judged in quick."""

    name: str
    value: float
    bound: float | None
    full_bound: float
    unit: str = ""

    @property
    def holds(self) -> bool | None:
        """Whether the value reaches its bound (all claims are of the kind "at least"); None where it is not judged."""
        return None if self.bound is None else self.value >= self.bound


def points(name: str, difference: float, drop: float, *, judged: bool = True) -> Claim:
    """The claim that a difference of two shares is at least `-drop` points. One that is not known does not hold."""
    measured = float("-inf") if math.isnan(difference) else 100 * difference
    return Claim(name, measured, -drop if judged else None, -drop, " points")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that every benchmark has."""
    parser.add_argument("--quick", action="store_true", help="a small seeded subsample, with bounds of its own")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw it as PNG")


def wide_console() -> Console:
    """A console that never squeezes a table: what scrolls off a narrow terminal is still whole in a log."""
    console = Console(highlight=False, soft_wrap=True)
    console.width = max(console.width, _LEAST_WIDTH)
    return console


def conclude(name: str, claims: Sequence[Claim], details: dict[str, Any], closing: str, json_file: Path | None) -> int:
    """Print the claims and the closing line, write the JSON, and return the exit code."""
    console = wide_console()
    console.width = max(console.width, max((len(claim.name) for claim in claims), default=0) + _FIGURES_WIDTH)
    table = Table(title="Claims", title_justify="left")
    for column in ("claim", "measured", "bound", "full bound", "verdict"):
        table.add_column(column, justify="left" if column in {"claim", "verdict"} else "right", no_wrap=True)
    for claim in claims:
        bound = "-" if claim.bound is None else f"≥ {claim.bound:g}{claim.unit}"
        table.add_row(
            claim.name, f"{claim.value:.2f}{claim.unit}", bound, f"≥ {claim.full_bound:g}{claim.unit}", _verdict(claim)
        )
    console.print(table)
    failed = [claim.name for claim in claims if claim.holds is False]
    if json_file is not None:
        document = {
            "benchmark": name,
            "machine": {
                "python": platform.python_version(),
                "machine": platform.machine(),
                "system": platform.system(),
            },
            "claims": [asdict(claim) | {"holds": claim.holds} for claim in claims],
            **details,
        }
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
    word = f"[bold red]FAILED[/bold red] ({'; '.join(failed)})" if failed else "[bold green]HELD[/bold green]"
    console.print(f"{name}: {word}: {closing}")
    return 1 if failed else 0


def _verdict(claim: Claim) -> str:
    if claim.holds is None:
        return "[dim]not judged in quick[/dim]"
    return "[green]holds[/green]" if claim.holds else "[red]does not hold[/red]"
