"""What each step of a run finds: plain records, kept in the ledger and printed in the report."""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec

from core.ledger import Run
from training.canary import Side
from training.compare import PairedResult

STEPS: Final = ("await_traffic", "data", "candidate", "gates", "register", "trial", "canary", "verdict")
FIRST_STEP: Final = STEPS[0]

T = TypeVar("T")


class About(msgspec.Struct, frozen=True):
    """Why there is this run. The first entry of its record, there from the beginning."""

    actor: str
    """Who asked: `trainer` for an alarm, `schedule`, or a person."""
    recent_since: float
    """What is recent: traffic from then on, in seconds since the epoch."""
    classes: list[str] = []
    """The classes that the alarms name; of all where there are none."""
    alarms: list[str] = []
    cause: str = ""
    """For a person."""
    earlier: int = 0
    """Candidates that were judged before, for the same alarm."""


class TrafficResult(msgspec.Struct, frozen=True):
    """Step `await_traffic`."""

    texts: int
    """Different recent texts to learn from."""
    wanted: int
    hours: float
    """That the run waited for them."""


class DataResult(msgspec.Struct, frozen=True):
    """Step `data`."""

    sha256: str
    examples: int
    train: int
    calibration: int
    holdout: int
    gate: int
    """Of the hold-out, those on which candidate and champion are compared: one a cluster of near-duplicates."""
    gate_recent: int
    sources: dict[str, int]
    asked: int
    """Teacher calls that this run made to label traffic."""
    cost_usd: float
    salt: str
    """Of the split."""
    notes: list[str] = []
    """What was left out, and why."""


class CandidateResult(msgspec.Struct, frozen=True):
    """Step `candidate`."""

    architecture: str
    seed: int
    seconds: float
    agreement: float
    """On all of its own hold-out."""
    trusted: int
    metrics: dict[str, float]


class RegisterResult(msgspec.Struct, frozen=True):
    """Step `register`."""

    version: str
    at: float
    """When it became challenger."""


class TrialResult(msgspec.Struct, frozen=True):
    """Step `trial`. `refusals` empty: it has passed."""

    ended: str
    """`complete`, `timeout`, `by_hand` (a person has promoted the candidate) or `replaced` (another version)."""
    comparisons: int
    hours: float
    calls: int
    """Of the teacher, for the comparisons that it used: the others had been answered by it anyway."""
    cost_usd: float
    paired: PairedResult | None = None
    refusals: list[str] = []


class CanaryResult(msgspec.Struct, frozen=True):
    """Step `canary`. `refusals` empty: it has passed."""

    ended: str
    """`complete`, `timeout`, `stopped` (something spoke against it), `skipped` (the settings want none), or as a trial:
    `by_hand`, `replaced`."""
    share: float = 0.0
    """Of users, that were the candidate's."""
    hours: float = 0.0
    candidate: Side = Side()
    champion: Side = Side()
    slowdown: float | None = None
    """How many times as long as the champion it took at the same time, in the median."""
    refusals: list[str] = []


def found(run: Run, step: str, kind: type[T]) -> T | None:
    """What a step of the run has found, or None where it has not been reached."""
    value = run.record.get(step)
    return None if value is None else msgspec.convert(value, kind)


def needed(run: Run, step: str, kind: type[T]) -> T:
    """The same where the step must have been finished. Raises ValueError: a defect in the order of the steps."""
    value = found(run, step, kind)
    if value is None:
        raise ValueError(f"run {run.id} is at {run.step} without a result of {step}")
    return value
