"""A teacher that has changed: then agreement says as much about the teacher as about the student."""

from __future__ import annotations

from typing import Any, Final

from core.ledger import GoldenExample, Ledger
from core.settings import WatchSettings
from monitoring.causes.cause import Cause, Finding, Look
from monitoring.golden import GoldenWatch, changes
from monitoring.signals import TEACHER
from monitoring.telling import percent

_CALM: Final = 2  # rounds in a row that look as before, for the alarm to close
_EXAMPLES: Final = 5
_CHARACTERS: Final = 300


class TeacherDrift(Cause):
    """The teacher answers its golden set differently, more often than it did by chance before.

    It warns and never retrains: whether the new answers are better is for a person to say. Closing the alarm accepts
    the teacher as it is now: later rounds are compared with its last answers.
    """

    name = TEACHER

    def __init__(self, task: str, ledger: Ledger, watch: WatchSettings) -> None:
        """`ledger` holds the texts and the answers."""
        self._task = task
        self._golden = ledger.golden
        self._error = watch.golden_false_alarms

    def has_tripped(self, look: Look) -> bool:
        """Whether a round has shown a change."""
        return look.state.golden.changed is not None

    def is_due(self, look: Look) -> bool:
        """Whether there is a round of which the alarm does not know."""
        return look.standing is not None and look.standing.evidence.get("round") != look.state.golden.round

    def find(self, look: Look) -> Finding:
        """The answers then and now, with examples."""
        golden = look.state.golden
        rounds = self._golden.rounds(self._task, golden.set, since=golden.baseline)
        changed = changes(rounds, self._golden.examples(self._task, golden.set))
        told = {
            "since": next((one.started for one in rounds if one.number == golden.changed), None),
            "round": golden.round,
            "since_round": golden.changed,
            "asked_at": golden.asked_at,
            "answers": golden.answers,
            "agreement_with_first": _rounded(golden.agreement),
            "usual_agreement_with_first": _rounded(golden.usual),
            "truth": _rounded(golden.truth),
            "first_truth": _rounded(golden.first_truth),
            "p_value": float(f"{golden.p_value:.3g}"),
            "allowed": float(f"{golden.allowed:.3g}"),
            "examples": [
                _example(one, before, now, keep_text=look.rules.keep_text) for one, before, now in changed[:_EXAMPLES]
            ],
        }
        sure = (
            f"An unchanged teacher, however noisy, is ever called changed with a chance of {percent(self._error)} at "
            "most."
        )
        return Finding(told, what=_what(golden), sure=sure, retrain=False)

    def recovered(self, look: Look) -> str:
        """Whether it answers as before again."""
        golden = look.state.golden
        if golden.changed is None:
            return "another golden set is asked now"
        return f"the last {_CALM} rounds were answered as before" if golden.calm >= _CALM else ""

    def restart(self, look: Look) -> None:
        """Whoever closes it accepts the teacher as it is now."""
        golden = look.state.golden
        if golden.set and golden.round > golden.baseline:
            self._golden.rebase(self._task, golden.set, golden.round)
            look.state.golden = GoldenWatch(golden.set, golden.round, round=golden.round - 1)


def _what(golden: GoldenWatch) -> str:
    text = "The teacher has changed: it answers "
    if golden.agreement is None or golden.usual is None:
        return text + "its golden set differently than before."
    text += f"{percent(golden.agreement)} of its golden set as it did at first, where it was {percent(golden.usual)}."
    if golden.truth is not None and golden.first_truth is not None:
        text += f" Of the texts whose label is known it is right on {percent(golden.truth)}, at first "
        text += f"{percent(golden.first_truth)}."
    return text


def _example(one: GoldenExample, before: str, now: str, *, keep_text: bool) -> dict[str, Any]:
    """A changed answer; an exchange's text only where it may be kept."""
    text = one.text[:_CHARACTERS] if keep_text or not one.exchange else ""
    return {"exchange": one.exchange, "before": before, "now": now, "text": text}


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 4)
