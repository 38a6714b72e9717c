"""Works on runs: claims one, does its steps one after another, and ends it."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import structlog
from sqlalchemy.exc import SQLAlchemyError

from core.errors import DataError, ModelFolderError, PermissionDeniedError, SettingsError, TutelageError
from core.ledger import Run, RunState
from training.gates import GateReport
from training.runs.await_traffic import await_traffic
from training.runs.canary import watch_canary
from training.runs.context import RunContext
from training.runs.judge import run_gates
from training.runs.prepare import collect_data, make_candidate
from training.runs.report import write_report
from training.runs.results import RegisterResult, TrialResult
from training.runs.trial import register_candidate, watch_trial
from training.runs.verdict import Verdict, decide, give_up

_HOPELESS: Final = (PermissionDeniedError, SettingsError, DataError, ModelFolderError)
"""What another attempt meets again."""

_log = structlog.get_logger("tutelage.trainer")


@dataclass(frozen=True, slots=True)
class _Step:
    do: Callable[[RunContext, Run], msgspec.Struct | None]
    """Returns what it has found; None: it waits for something."""
    then: Callable[[msgspec.Struct], str]


def _always(step: str) -> Callable[[msgspec.Struct], str]:
    return lambda _: step


def _after_gates(result: msgspec.Struct) -> str:
    return "register" if isinstance(result, GateReport) and result.passed else "verdict"


def _after_trial(result: msgspec.Struct) -> str:
    passed = isinstance(result, TrialResult) and not result.refusals and result.ended != "by_hand"
    return "canary" if passed else "verdict"


_STEPS: Final = {
    "await_traffic": _Step(await_traffic, _always("data")),
    "data": _Step(collect_data, _always("candidate")),
    "candidate": _Step(make_candidate, _always("gates")),
    "gates": _Step(run_gates, _after_gates),
    "register": _Step(register_candidate, _always("trial")),
    "trial": _Step(watch_trial, _after_trial),
    "canary": _Step(watch_canary, _always("verdict")),
}
"""All but the last step, `verdict`."""


class Runner:
    """One trainer's hands. `work` blocks; one run at a time."""

    def __init__(
        self,
        context: RunContext,
        *,
        owner: str | None = None,
        renew_seconds: float = 5.0,
        stale_seconds: float = 30.0,
        retry_seconds: float = 15.0,
    ) -> None:
        self._context = context
        self._runs = context.ledger.runs
        self._owner = owner or f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._renew_seconds = renew_seconds
        self._stale_seconds = stale_seconds
        self._retry_seconds = retry_seconds
        self._not_before: dict[str, float] = {}
        self._waits: dict[str, str] = {}
        """Run -> the step at which it waits, so that the log says so once and not at every look."""

    def work(self, run_id: str) -> bool:
        """Do the steps of a run until it ends, waits, or must be left to somebody else; True where it ended.

        Raises SQLAlchemyError while the ledger is away.
        """
        while True:
            now = self._context.clock()
            if now < self._not_before.get(run_id, 0.0):
                return False
            if not self._runs.claim(run_id, self._owner, at=now, stale_before=now - self._stale_seconds):
                return False
            run = self._runs.get(run_id)
            if run is None:
                return False
            try:
                with self._renewed(run_id):
                    goes_on = self._advance(run)
            except SQLAlchemyError:
                raise
            except _HOPELESS as error:
                goes_on = self._end(run, give_up(self._context, run, f"at the step {run.step}: {error.message}"))
            except Exception as error:  # noqa: BLE001 - a defect ends this run after some attempts, never the trainer
                self._put_off(run, error)
                return False
            if not goes_on:
                ended = self._runs.get(run_id)
                return ended is not None and ended.state is not RunState.RUNNING

    def release(self, run_id: str) -> None:
        """Give a run back, so that the next trainer takes it up at once."""
        self._runs.release(run_id, self._owner)

    def _advance(self, run: Run) -> bool:
        """Do one step. True: there is another to do now."""
        limit = self._context.task(run).retrain.attempts
        if run.attempts >= limit:
            why = f"the step {run.step} was begun {run.attempts} times and never finished"
            return self._end(run, give_up(self._context, run, f"{why}: {run.reason}" if run.reason else why))
        if not self._runs.count_attempt(run.id, self._owner, run.step, self._context.clock()):
            return False
        if self._waits.get(run.id) != run.step:
            _log.info("run_step", run=run.id, task=run.task, step=run.step, attempt=run.attempts + 1)
        if run.step not in _STEPS:
            return self._end(run, decide(self._context, run))
        step = _STEPS[run.step]
        result = step.do(self._context, run)
        now = self._context.clock()
        if result is None:
            self._waits[run.id] = run.step
            self._runs.wait(run.id, self._owner, run.step, now)
            return False
        candidate = result.version if isinstance(result, RegisterResult) else None
        kept: dict[str, Any] = msgspec.to_builtins(result)
        return self._runs.finish_step(run, self._owner, kept, then=step.then(result), at=now, candidate=candidate)

    def _end(self, run: Run, verdict: Verdict) -> bool:
        """Write the report, then close the run. Never goes on."""
        report = write_report(self._context, run, verdict)
        now = self._context.clock()
        self._waits.pop(run.id, None)
        decided = {RunState.PROMOTED: "passed", RunState.REFUSED: "refused"}.get(verdict.state, "")
        self._runs.close(
            run, self._owner, verdict.state, verdict=decided, reason=verdict.reason, report=str(report), at=now
        )
        _log.info("run_ended", run=run.id, task=run.task, state=verdict.state.value, reason=verdict.reason)
        return False

    def _put_off(self, run: Run, error: Exception) -> None:
        """Another attempt comes later, after growing pauses."""
        self._not_before[run.id] = self._context.clock() + self._retry_seconds * 4.0**run.attempts
        told = error.message if isinstance(error, TutelageError) else f"{type(error).__name__}: {error}"
        self._runs.note(run.id, self._owner, told)
        _log.error(
            "run_step_failed",
            run=run.id,
            task=run.task,
            step=run.step,
            error=told,
            exc_info=not isinstance(error, TutelageError),
        )

    @contextlib.contextmanager
    def _renewed(self, run_id: str) -> Iterator[None]:
        """Renew the claim from a thread while the block runs."""
        finished = threading.Event()

        def renew() -> None:
            while not finished.wait(self._renew_seconds):
                try:
                    held = self._runs.renew(run_id, self._owner, self._context.clock())
                except SQLAlchemyError as error:
                    _log.warning("claim_not_renewed", run=run_id, error=str(error))
                    continue
                if not held:
                    _log.warning("claim_lost", run=run_id, hint="another trainer has taken the run over")
                    return

        thread = threading.Thread(target=renew, name=f"renew-{run_id}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            finished.set()
            thread.join()
