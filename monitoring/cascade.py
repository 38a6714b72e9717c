"""What an alarm does to the confidence from which on a version may answer: it may raise it, and never lowers it.

Judged are the comparisons since the change, of the classes that keep their trust, by the rule of
`monitoring.statistics.selective`. Those of which the student was unsure were sampled more often, so the agreement among
them is no better than that of what clients receive. Where there are too few to show anything, nothing is done.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any

import numpy as np

from core.ledger import Alarm, Threshold
from monitoring.evidence import Evidence
from monitoring.rules import Rules
from monitoring.statistics.selective import lowest_confidence
from monitoring.version import VersionState


def raised_confidence(
    watched: VersionState,
    evidence: Evidence,
    trusted: AbstractSet[str],
    rules: Rules,
    *,
    present: float,
    teacher_share: float,
    most: float,
) -> float | None:
    """The confidence from which on the version should answer from now on; None where it stays as it is.

    `trusted`: classes that it still may answer; `teacher_share`: of exchanges, expected with these; `most`: the largest
    share that the teacher may answer. What would need more than that is not done.
    """
    if rules.target_agreement is None:
        return None
    first = evidence.change.number if evidence.change is not None else 0
    given = [
        step for step in watched.trail if step.number >= first and step.label in trusted and step.confidence >= present
    ]
    chosen = lowest_confidence(
        np.array([step.confidence for step in given], dtype=np.float32),
        np.array([step.agrees for step in given], dtype=bool),
        target=rules.target_agreement,
        floor=present,
        error=rules.target_error,
    ).confidence
    if chosen is None or chosen <= present:
        return None
    moved = sum(step.weight for step in given if step.confidence < chosen) / sum(step.weight for step in given)
    return chosen if teacher_share + moved * (1 - teacher_share) <= most else None


def raised_threshold(before: Threshold, confidence: float, alarm: str, at: float) -> Threshold:
    """The version's threshold, as it is once an alarm has raised it."""
    return replace(before, confidence=confidence, evidence=f"raised by alarm {alarm} (before: {before.evidence})", at=at)


def told(before: dict[str, Any], present: float, confidence: float | None) -> dict[str, Any]:
    """What the alarm's evidence says of it; `before` is the evidence so far. From where it was raised is kept."""
    known = before.get("threshold")
    if confidence is None:
        return {} if known is None else {"threshold": known}
    return {"threshold": {"from": present if known is None else known["from"], "to": confidence}}


def restored_threshold(now: Threshold, alarm: Alarm, at: float) -> Threshold | None:
    """The version's threshold, as it is once what `alarm` raised is given back; None where it raised nothing."""
    known = alarm.evidence.get("threshold")
    if known is None or now.confidence != known["to"]:
        return None
    return replace(
        now, confidence=known["from"], evidence=f"given back when alarm {alarm.id} was resolved ({now.evidence})", at=at
    )
