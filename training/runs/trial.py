"""The steps `register` and `trial`: the candidate answers copies of live traffic beside the champion."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from core.ledger import Run
from core.records import Kind, Outcome
from training.compare import PairedResult, Pairs, compare
from training.progress import Progress
from training.promotion import CHAMPION, challenge
from training.register import enter
from training.runs.context import RunContext
from training.runs.judge import limits_of
from training.runs.prepare import candidate_folder
from training.runs.results import RegisterResult, TrialResult, needed
from training.runs.trust_evidence import judge_candidate

_HOUR: Final = 3600.0

_TRIED: Final = """
    SELECT exchange, outcome, probability, cluster, cost_usd, teacher_label, student_label, challenger_label,
        challenger_confidence
    FROM records
    WHERE teacher_label IS NOT NULL AND student_version = ? AND challenger_version = ?
    ORDER BY compared_at, exchange
"""


def register_candidate(context: RunContext, run: Run) -> RegisterResult:
    """Register the candidate with its trust, and make it challenger."""
    folder = candidate_folder(context, run)
    judged = judge_candidate(context, run, [])
    version = enter(
        context.registry,
        context.ledger,
        run.task,
        folder,
        judged.verdicts,
        threshold=judged.threshold,
        actor=context.actor,
        run=run.id,
    )
    challenge(context.registry, context.ledger, run.task, version, actor=context.actor, run=run.id)
    return RegisterResult(version, context.clock())


def watch_trial(context: RunContext, run: Run) -> TrialResult | None:
    """What the trial has shown, or None while it goes on."""
    settings, registered = context.task(run).retrain, needed(run, "register", RegisterResult)
    hours = (context.clock() - registered.at) / _HOUR
    champion = context.registry.version_of(run.task, CHAMPION)
    rows = tried(context, run, registered.version)
    asked = [row for row in rows if row["outcome"] == Outcome.ANSWERED.value]
    cost = float(sum(row["cost_usd"] or 0.0 for row in asked))

    def ended(how: str, paired: PairedResult | None = None, *refusals: str) -> TrialResult:
        return TrialResult(how, len(rows), hours, len(asked), cost, paired, list(refusals))

    if champion == registered.version:
        return ended("by_hand")
    if champion != run.champion:
        return ended("replaced", None, f"version {champion} became champion while it was on trial")
    context.report(Progress("trial", min(len(rows), settings.trial_comparisons), settings.trial_comparisons))
    complete = len(rows) >= settings.trial_comparisons
    if not complete and hours < settings.trial_hours:
        return None
    how = "complete" if complete else "timeout"
    if len(rows) < min(settings.trial_minimum, settings.trial_comparisons):
        few = f"its trial saw only {len(rows)} comparisons in {hours:.1f} hours; {settings.trial_minimum} are needed"
        return ended(how, None, few)
    paired = _compare(context, run, rows)
    return ended(how, paired, *(f"on trial: {refusal.text}" for refusal in paired.refusals))


def tried(context: RunContext, run: Run, version: str) -> list[dict[str, Any]]:
    """Comparisons that hold both students' answers, oldest first; one an exchange, and one a cluster."""
    registered = needed(run, "register", RegisterResult)
    table = context.archive.query(
        _TRIED, run.task, Kind.COMPARISON, [run.champion, version], since=registered.at - _HOUR
    )
    labels = context.task(run).label_set()
    rows: dict[str, dict[str, Any]] = {}
    for row in table.to_pylist():
        if row["teacher_label"] in labels:
            rows.setdefault(row["cluster"] or row["exchange"], row)
    return list({row["exchange"]: row for row in rows.values()}.values())


def _compare(context: RunContext, run: Run, rows: list[dict[str, Any]]) -> PairedResult:
    # The trial has the whole alpha: the gates, which the candidate has passed as well, have shared it out already.
    task = context.task(run)
    labels = task.label_set()
    teacher = [row["teacher_label"] for row in rows]
    cascaded = np.array([row["outcome"] == Outcome.CASCADED.value for row in rows], dtype=bool)
    pairs = Pairs(
        champion=np.array(
            [row["student_label"] == label for row, label in zip(rows, teacher, strict=True)], dtype=bool
        ),
        candidate=np.array(
            [row["challenger_label"] == label for row, label in zip(rows, teacher, strict=True)], dtype=bool
        ),
        answers=np.array([labels.index[label] for label in teacher], dtype=np.int64),
        parts={"what the champion answers": ~cascaded, "what the teacher answers": cascaded},
        probabilities=np.array([row["probability"] for row in rows], dtype=np.float64),
    )
    return compare(pairs, labels.names, limits_of(task, task.retrain.alpha))
