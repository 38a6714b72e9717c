"""The last step: promote the candidate or refuse it; and what is done where a run cannot go on."""

from __future__ import annotations

from dataclasses import dataclass

from core.ledger import Run, RunState
from training.gates import GateReport
from training.promotion import dismiss, promote
from training.register import write_trust
from training.runs.context import RunContext
from training.runs.results import CanaryResult, RegisterResult, TrialResult, found, needed
from training.runs.trial import tried
from training.runs.trust_evidence import judge_candidate


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
    canary = found(run, "canary", CanaryResult) or CanaryResult("skipped")
    if canary.refusals:
        return _refuse(context, run, canary.refusals)
    if canary.ended == "by_hand":
        return Verdict(RunState.PROMOTED, f"version {version} was promoted by hand during its canary")
    judged = judge_candidate(context, run, tried(context, run, version))
    write_trust(context.ledger, run.task, version, judged.verdicts, judged.threshold)
    promote(
        context.registry,
        context.ledger,
        run.task,
        version,
        actor=context.actor,
        detail={"from": run.champion, "run": run.id, "trusted": judged.trusted},
    )
    passed = "the gates and its trial" if canary.ended == "skipped" else "the gates, its trial and its canary"
    return Verdict(
        RunState.PROMOTED,
        f"version {version} has passed {passed}, and replaces version {run.champion}; it may answer "
        f"{judged.trusted} of {len(judged.verdicts)} classes",
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
