"""Inputs that no longer look like the reference: a warning, and evidence only once agreement confirms it.

What confirms it is one test of the comparisons made after the alarm opened, against those before it: the moment was
chosen by the inputs alone, so the test owes nothing to a search for the worst moment. Looking again as comparisons
come in divides its error over the looks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from core.settings import WatchSettings
from monitoring.causes.cause import Cause, Finding, Look
from monitoring.drift.verdict import INPUTS, LABELS, TEMPLATES, ClassShare, Score, Verdict
from monitoring.signals import DRIFT
from monitoring.statistics.classes import drop_p
from monitoring.statistics.weights import WeightedMean
from monitoring.telling import percent

_PARTS: Final = {
    LABELS: "the mix of the student's labels has changed",
    INPUTS: "inputs within the classes are not what they were",
    TEMPLATES: "more requests match no prompt template",
}
_CLASSES: Final = 10
_CONFIRMED: Final = 0.05  # chance that drift which harms nobody is called confirmed, over all looks
_ALL_LOOKS: Final = math.pi**2 / 6  # sum of 1/look²


class InputDrift(Cause):
    """A window is called drift; `monitoring.drift` says what is promised of that."""

    name = DRIFT

    def __init__(self, watch: WatchSettings) -> None:
        self._watch = watch

    def has_tripped(self, look: Look) -> bool:
        """Whether there is reason for an alarm."""
        drift = look.state.drift
        return drift.version == look.state.champion and drift.drifted > 0

    def is_due(self, look: Look) -> bool:
        """Whether the evidence is to be brought up to date."""
        confirmed = look.standing is not None and look.standing.evidence.get("confirmed", False)
        return not confirmed and super().is_due(look)

    def find(self, look: Look) -> Finding:
        """The evidence, as it is now."""
        drift = look.state.drift
        told = _told(drift.tripped, drift.windows) if drift.tripped is not None else {}
        if look.standing is not None:
            told = {name: look.standing.evidence[name] for name in told if name in look.standing.evidence}
        confirmation = _confirmation(look)
        confirmed = bool(confirmation.get("confirmed", False))
        return Finding(told | confirmation, what=_what(told, confirmation), sure=self._sure(), retrain=confirmed)

    def _sure(self) -> str:
        return (
            f"within {self._watch.drift_horizon} windows without drift, the chance that anything is called drift is "
            f"{percent(self._watch.drift_false_alarms)} at most, over all signals together. Drift that harms nobody is "
            f"called confirmed with a chance of {percent(_CONFIRMED)} at most."
        )

    def recovered(self, look: Look) -> str:
        """Why the alarm may be closed; empty: it may not."""
        return (
            "" if look.known is None or look.state.drift.drifted else "the last windows look like the reference again"
        )

    def restart(self, look: Look) -> None:
        """Begin anew after the alarm was closed."""
        look.state.drift.settle()


def _confirmation(look: Look) -> dict[str, Any]:
    """Whether agreement since the alarm opened is lower than before it."""
    known = look.known
    if known is None:
        return {}
    before, after = WeightedMean(), WeightedMean()
    for step in look.watched.trail:
        (after if step.number > known.raised else before).add(step.agrees, step.weight)
    sides = [(mean.effective, mean.estimate or 0.0) for mean in (before, after)]
    p_value = drop_p(*sides)
    return {
        "confirmed": p_value <= _CONFIRMED / (_ALL_LOOKS * (known.looks + 1) ** 2),
        "agreement_before": round(sides[0][1], 4),
        "agreement_since": round(sides[1][1], 4),
        "comparisons_since": after.count,
        "p_value": float(f"{p_value:.3g}"),
    }


def _told(verdict: Verdict, windows: int) -> dict[str, Any]:
    """The window with which drift was called, the `windows`-th of the version."""
    return {
        "parts": [
            {"part": part.name, "p_value": float(f"{part.p_value:.3g}"), "level": part.level, "drift": part.is_drift}
            for part in verdict.parts
            if part.name in _PARTS
        ],
        "signals": [_signal(score) for score in verdict.scores],
        "window": {
            "number": windows,
            "from": verdict.began,
            "to": verdict.ended,
            "exchanges": verdict.exchanges,
            "compared": verdict.rows,
            "near_duplicates": verdict.bursts,
            "reference": verdict.reference,
        },
        "labels_compared_with": verdict.season,
        "mean_confidence": [round(value, 4) for value in verdict.confidence],
        "classes": [
            {
                "class": one.label,
                "before": round(one.before, 4),
                "now": round(one.now, 4),
                "interval": [round(one.lower, 4), round(one.upper, 4)],
            }
            for one in most_changed(verdict.classes)
        ],
    }


def most_changed(classes: Sequence[ClassShare]) -> list[ClassShare]:
    """The classes whose shares have moved most, of those whose interval does not hold what they were."""
    moved = [one for one in classes if not one.lower <= one.before <= one.upper]
    return sorted(moved, key=lambda one: -abs(one.now - one.before))[:_CLASSES]


def _what(told: dict[str, Any], confirmation: dict[str, Any]) -> str:
    parts = [_PARTS[one["part"]] for one in told.get("parts", []) if one["drift"]]
    over = [one["signal"] for one in told.get("signals", []) if one["score"] >= one["threshold"]]
    compared = told.get("window", {})
    what = (
        f"A window of {compared.get('compared', 0):,} exchanges differs from the reference: {', and '.join(parts)} "
        f"({', '.join(over) or 'no signal by itself'})."
    )
    if not confirmation:
        return what + " Whether answers suffer is not known yet."
    state = "Confirmed" if confirmation["confirmed"] else "Not confirmed so far"
    return (
        f"{what} {state} by agreement: {percent(confirmation['agreement_since'])} in "
        f"{confirmation['comparisons_since']} comparisons since the alarm opened, "
        f"{percent(confirmation['agreement_before'])} before."
    )


def _signal(score: Score) -> dict[str, Any]:
    return {
        "signal": score.signal,
        "score": round(score.score, 4),
        "threshold": round(score.threshold, 4),
        "p_value": round(score.p_value, 4),
    }
