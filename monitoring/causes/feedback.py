"""Of the student's answers that clients gave feedback on, fewer are right than before."""

from __future__ import annotations

from typing import Any, Final

from core.records import Answerer
from core.settings import WatchSettings
from monitoring.causes.cause import Cause, Finding, Look
from monitoring.evidence import summary
from monitoring.feedback.accuracy import VersionFeedback
from monitoring.signals import FEEDBACK
from monitoring.statistics.classification import as_mean
from monitoring.statistics.missing import worst_case
from monitoring.telling import moment, percent

_PAIRS: Final = 5
_RAISED: Final = "answers_when_raised"


class FeedbackAccuracy(Cause):
    """Accuracy on feedback fell below what was learnt from the version's own first feedback.

    It takes no trust: clients choose what they report, and may only have begun to choose differently.
    """

    name = FEEDBACK

    def __init__(self, watch: WatchSettings) -> None:
        self._watch = watch

    def has_tripped(self, look: Look) -> bool:
        """Whether there is reason for an alarm."""
        feedback = _of(look)
        return feedback is not None and feedback.detector.value >= look.rules.feedback_limit

    def find(self, look: Look) -> Finding:
        """The evidence, as it is now."""
        feedback = _of(look) or VersionFeedback()
        change = look.known.change if look.known is not None else feedback.detector.change
        counts, recent = feedback.student.counts, feedback.student.recent
        error = look.rules.interval_error
        total = feedback.exposure.total(Answerer.STUDENT)
        bounds = worst_case(counts.correct, counts.total, total)
        before = {} if look.standing is None else look.standing.evidence
        told: dict[str, Any] = {
            "baseline": round(feedback.baseline.overall, 4),
            "since": None if change is None else change.at,
            "recent_accuracy": summary(as_mean(recent.right, recent.total), error),
            "version_accuracy": summary(as_mean(counts.correct, counts.total), error),
            "accuracy_if_the_rest_is_wrong_or_right": None if bounds is None else [round(one, 4) for one in bounds],
            "answers": total,
            "uneven": sorted(name.value for name, one in feedback.exposure.found.items() if one.uneven),
            "confusions": [pair._asdict() for pair in counts.worst_pairs(_PAIRS)],
            _RAISED: before.get(_RAISED, feedback.student.number),
        }
        return Finding(told, what=_what(told), sure=self._sure(told), change=change)

    def recovered(self, look: Look) -> str:
        """Why the alarm may be closed; empty: it may not."""
        feedback, standing = _of(look), look.standing
        if feedback is None or standing is None:
            return ""
        recent = feedback.student.recent
        fresh = recent.total > 0 and recent.after >= standing.evidence.get(_RAISED, feedback.student.number)
        if not fresh or recent.right / recent.total < feedback.baseline.overall:
            return ""
        return "clients find the student's answers right as often as before again"

    def restart(self, look: Look) -> None:
        """Begin anew after the alarm was closed."""
        feedback = _of(look)
        if feedback is not None:
            feedback.detector.restart()

    def _sure(self, told: dict[str, Any]) -> str:
        uneven = f" Feedback does not come evenly ({', '.join(told['uneven'])})." if told["uneven"] else ""
        return (
            f"without a change among what is reported, this detector raises an alarm within {self._watch.horizon:,} "
            f"answers with feedback with a chance of {percent(self._watch.feedback_false_alarms)} at most. It cannot "
            f"tell a worse student from clients who report other answers than before.{uneven}"
        )


def _of(look: Look) -> VersionFeedback | None:
    return look.state.feedback.versions.get(look.state.champion)


def _what(told: dict[str, Any]) -> str:
    when = "" if told["since"] is None else f" since {moment(told['since'])}, as it seems"
    recent = told["recent_accuracy"]
    known = recent["estimate"] is not None
    lately = f", of the last {recent['comparisons']:,} {percent(recent['estimate'])}" if known else ""
    return (
        f"Of the student's answers with feedback fewer are right than the baseline of {percent(told['baseline'])}{when}"
        f"{lately}."
    )
