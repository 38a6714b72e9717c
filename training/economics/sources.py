"""Where a number is known from, and what stands in for one that is not known.

Who reads a saving wants to know what it rests on. So no number goes into the arithmetic without its source, and what
nobody has said, measured or set is called assumed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from core.prices import Price
from core.settings import RetrainSettings, TaskSettings, WatchSettings
from monitoring.power import DAYS_A_MONTH

ASSUMED: Final = "assumed"
"""The source of what nobody has said, measured or set."""

FALLBACK: Final = 0.2
"""Share that the teacher answers, as long as nobody has measured it."""
LABELS: Final = 10_000
"""Prompts to teach a first student from."""
HOSTING_USD: Final = 50.0
"""A month, of a small virtual machine for a student of our own."""
TOKENS: Final = (200.0, 8.0)
"""Of a prompt with a message of usual length, and of a label."""
_RETRAINING_MONTHS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Known:
    """A number, and where it is known from."""

    value: float
    source: str


def known(*sources: tuple[float | None, str]) -> Known | None:
    """The first that says something; None where none does."""
    return next((Known(value, source) for value, source in sources if value is not None), None)


def assumed(value: float) -> Known:
    """A number that stands in for one which nobody knows."""
    return Known(value, ASSUMED)


def setting(task: TaskSettings | None, name: str, value: float) -> Known:
    """A setting's number; without settings, its default is an assumption like any other."""
    return Known(value, name if task is not None else f"{ASSUMED}, default of {name}")


def answer_usd(price: Price, input_tokens: float, output_tokens: float) -> Known:
    """Dollars of an answer at list price. Tokens are means, and need not be whole."""
    usd = (input_tokens * price.input_price + output_tokens * price.output_price) / 1e6
    return Known(usd, price.source)


def golden_usd(task: TaskSettings | None, teacher_usd: float) -> Known:
    """A month of asking the teacher its golden set again and again: the settings' size, rhythm and budget."""
    watch = task.watch if task is not None else WatchSettings()
    if watch.golden_hours is None or (task is not None and not task.asks_golden):
        return Known(0.0, "no golden set is asked")
    usd = watch.golden_size * teacher_usd
    once = usd if watch.golden_dollars is None else min(usd, watch.golden_dollars)
    return setting(task, "watch.golden_size", once * DAYS_A_MONTH * 24 / watch.golden_hours)


def retraining_usd(task: TaskSettings | None, teacher_usd: float) -> Known:
    """The labels of one run, as many as its budget allows. A trial's comparisons are shadow calls, counted as those."""
    retrain = task.retrain if task is not None else RetrainSettings()
    usd, limit = retrain.label_budget * teacher_usd, retrain.label_budget_usd
    return setting(task, "retrain.label_budget", usd if limit is None else min(usd, limit))


def retraining_months(task: TaskSettings | None) -> Known:
    """From one run to the next."""
    days = task.retrain.every_days if task is not None else None
    return assumed(_RETRAINING_MONTHS) if days is None else Known(days / DAYS_A_MONTH, "retrain.every_days")
