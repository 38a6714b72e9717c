"""What is to be said of the teacher wherever a student is held against its answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from monitoring.evidence import summary
from monitoring.noise_ceiling import attainable
from monitoring.rules import Rules
from monitoring.state import TaskState

_ABOUT_AGREEMENT: Final = "student_agreement"


def about_teacher(state: TaskState, rules: Rules, told: Mapping[str, Any]) -> dict[str, Any]:
    """For an alarm's evidence: the noise ceiling, and whether the teacher has changed.

    Nothing for evidence `told` that is not about agreement.
    """
    if _ABOUT_AGREEMENT not in told:
        return {}
    ceiling = summary(state.ceiling.mean, rules.interval_error)
    upper = ceiling["interval"][1] if ceiling["interval"] is not None else 1.0
    about: dict[str, Any] = {"noise_ceiling": ceiling | {"attainable": round(attainable(upper), 4)}}
    golden = state.golden
    if golden.changed is not None:
        about["teacher_changed"] = {
            "since_round": golden.changed,
            "agreement_with_first": golden.agreement,
            "usual_agreement_with_first": golden.usual,
        }
    return about
