"""Retraining runs: data -> candidate -> gates -> register -> trial -> canary -> verdict.

Each step's result is in the ledger before the next step begins, so a run whose trainer dies is taken up at the first
step that is not finished. Every step may therefore be done twice, and is written so that this does no harm.
"""

from training.runs.context import RunContext
from training.runs.results import FIRST_STEP, STEPS, About
from training.runs.runner import Runner
from training.runs.start import SCHEDULE, begin_run, is_scheduled

__all__ = ["FIRST_STEP", "SCHEDULE", "STEPS", "About", "RunContext", "Runner", "begin_run", "is_scheduled"]
