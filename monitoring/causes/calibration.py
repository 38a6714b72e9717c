"""The student is surer than it should be, in the mean over all inputs."""

from __future__ import annotations

from typing import Any, Final

from core.ledger import Alarm
from core.settings import WatchSettings
from monitoring.causes.cause import Cause, Finding, Look
from monitoring.signals import CALIBRATION
from monitoring.statistics.calibration import Bin, noise_of
from monitoring.telling import moment, percent

_DIGITS: Final = 4


class Overconfidence(Cause):
    """Confidence is above agreement by more than the margin.

    It warns, unless the settings let it retrain: trust is about agreement, which has detectors of its own.
    """

    name = CALIBRATION

    def __init__(self, watch: WatchSettings) -> None:
        self._watch = watch

    def has_tripped(self, look: Look) -> bool:
        """Whether there is reason for an alarm."""
        return look.watched.overconfidence.value >= look.rules.calibration_limit

    def find(self, look: Look) -> Finding:
        """The evidence, as it is now."""
        over, calibration = look.watched.overconfidence, look.watched.calibration
        change = look.known.change if look.known is not None else over.change
        bins = calibration.reliability()
        noise = noise_of(bins)
        told: dict[str, Any] = {
            "margin": look.rules.calibration_margin,
            "since": None if change is None else change.at,
            "confidence": _rounded(calibration.confidence),
            "agreement": _rounded(calibration.agreement),
            "excess": _rounded(over.excess),
            "excess_since_alarm": _rounded(over.excess_since) if look.known is not None else None,
            "expected_agreement": _rounded(look.watched.expected.overall(lately=True)),
            "ece": _rounded(calibration.ece),
            "ece_by_chance": None if noise is None else [_rounded(noise.mean), _rounded(noise.upper)],
            "reliability": [_bar(one) for one in bins if one is not None],
            "comparisons": over.count,
        }
        when = "" if change is None else f", since {moment(change.at)} as it seems"
        what = (
            f"The student is surer than it should be{when}: over this version its confidence was "
            f"{percent(calibration.confidence or 0.0)} in the mean, and {percent(calibration.agreement or 0.0)} of its "
            "answers agree with the teacher."
        )
        sure = (
            f"as long as confidence is at most {percent(look.rules.calibration_margin)} above agreement, this detector "
            f"raises an alarm within {self._watch.horizon:,} comparisons with a chance of "
            f"{percent(self._watch.calibration_false_alarms)} at most. ECE and the reliability diagram are descriptive."
        )
        return Finding(told, what=what, sure=sure, change=change)

    def recovered(self, look: Look) -> str:
        """Why the alarm may be closed; empty: it may not."""
        over = look.watched.overconfidence
        excess = over.excess_since
        if over.since_weight < look.rules.recent_comparisons or excess is None:
            return ""
        if excess > look.rules.calibration_margin:
            return ""
        return "confidence is no further above agreement than it may be"

    def written(self, look: Look, alarm: Alarm, finding: Finding) -> None:
        """From the moment that it opened, what comes is told apart."""
        del alarm, finding
        if look.standing is None:
            look.watched.overconfidence.note()

    def restart(self, look: Look) -> None:
        """Begin anew after the alarm was closed."""
        look.watched.overconfidence.restart()


def _bar(one: Bin) -> dict[str, Any]:
    return {
        "confidence": _rounded(one.confidence),
        "agreement": _rounded(one.agreement),
        "comparisons": one.comparisons,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, _DIGITS)
