"""The last step: promote the candidate or refuse it; and what is done where a run cannot go on."""

from __future__ import annotations

from dataclasses import dataclass

from core.ledger import Run, RunState
from training.gates import GateReport
from training.promotion import dismiss, promote
from training.register import trust_rows
from training.runs.context import RunContext
from training.runs.results import RegisterResult, TrialResult, found, needed
from training.runs.trial import tried
from training.runs.trust_evidence import candidate_verdicts


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a run ends, and why, for a person."""

    state: RunState
    reason: str


def decide(context: RunContext, run: Run) -> Verdict:
    """Promote or refuse, by what the steps have found."""
    gates = needed(run, "gates", GateReport)
    if not gates.passed:
        return _refuse(context, run, [refusal.text for refusal in gates.refusals])
    trial = needed(run, "trial", TrialResult)
    if trial.refusals:
        return _refuse(context, run, trial.refusals)
    version = needed(run, "register", RegisterResult).version
    if trial.ended == "by_hand":
        return Verdict(RunState.PROMOTED, f"version {version} was promoted by hand during its trial")
    verdicts = candidate_verdicts(context, run, tried(context, run, version))
    context.ledger.set_trust(run.task, version, trust_rows(run.task, version, verdicts))
    trusted = sum(verdict.trusted for verdict in verdicts)
    promote(
        context.registry,
        context.ledger,
        run.task,
        version,
        actor=context.actor,
        detail={"from": run.champion, "run": run.id, "trusted": trusted},
    )
    return Verdict(
        RunState.PROMOTED,
        f"version {version} has passed the gates and its trial, and replaces version {run.champion}; it may answer "
        f"{trusted} of {len(verdicts)} classes",
    )


def give_up(context: RunContext, run: Run, reason: str) -> Verdict:
    """End a run that cannot go on: its candidate is on trial no more."""
    _dismiss(context, run, "fail", reason)
    return Verdict(RunState.FAILED, reason)


def _refuse(context: RunContext, run: Run, reasons: list[str]) -> Verdict:
    reason = "; ".join(reasons)
    _dismiss(context, run, "refuse", reason)
    return Verdict(RunState.REFUSED, reason)


def _dismiss(context: RunContext, run: Run, action: str, reason: str) -> None:
    registered = found(run, "register", RegisterResult)
    dismiss(
        context.registry,
        context.ledger,
        run.task,
        registered.version if registered else "",
        actor=context.actor,
        action=action,
        detail={"run": run.id, "reason": reason},
    )
