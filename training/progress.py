"""How far a longer piece of work has come, told to whoever wants to draw it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Stage = Literal["fit", "traffic", "label", "train", "calibrate", "register", "trial", "canary", "done"]


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` of `total` steps of a stage; `message` is for a person."""

    stage: Stage
    done: int
    total: int
    message: str = ""


Report = Callable[[Progress], None]


def silent(progress: Progress) -> None:
    """Report nothing."""
    del progress
