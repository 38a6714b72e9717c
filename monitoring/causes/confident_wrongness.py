"""More of the answers that the student was sure of disagree with the teacher than did at first."""

from __future__ import annotations

from typing import Any, Final

from core.settings import WatchSettings
from monitoring.causes.cause import Cause, Finding, Look
from monitoring.evidence import examples, summary
from monitoring.signals import WRONGNESS
from monitoring.statistics.classes import benjamini_hochberg, drop_p
from monitoring.statistics.detector import Mark
from monitoring.statistics.weights import WeightedMean, less
from monitoring.telling import interval, moment, percent

_FEWEST: Final = 3  # sure answers of a class before anything is said of it by name


class ConfidentWrongnessRose(Cause):
    """Agreement among sure answers fell below what was learnt from the version's own first ones.

    It only warns, unless the settings let it retrain: who is wrong where both were sure, a person must say.
    """

    name = WRONGNESS

    def __init__(self, watch: WatchSettings) -> None:
        self._watch = watch

    def has_tripped(self, look: Look) -> bool:
        """Whether there is reason for an alarm."""
        return look.watched.wrongness.detector.value >= look.rules.confident_limit

    def find(self, look: Look) -> Finding:
        """The evidence, as it is now."""
        wrongness = look.watched.wrongness
        change = look.known.change if look.known is not None else wrongness.detector.change
        overall, named = _since(look, change)
        told: dict[str, Any] = {
            "confidence": wrongness.level,
            "baseline": round(wrongness.baseline.overall, 4),
            "since": None if change is None else change.at,
            "sure_agreement": summary(overall, look.rules.interval_error),
            "version_sure_agreement": summary(wrongness.recent.whole, look.rules.interval_error),
            "classes": named,
            "examples": examples(look.watched, change, wrongness.level),
        }
        when = "since recording began" if change is None else f"since {moment(change.at)}"
        what = (
            f"Of the student's answers with a confidence of {wrongness.level:g} or more, fewer agree with the teacher "
            f"than the baseline of {percent(told['baseline'])}: {interval(told['sure_agreement'])} {when}. The most "
            "confident ones wait for a verdict: tutelage review."
        )
        sure = (
            f"without a change, this detector raises an alarm within {self._watch.horizon:,} comparisons with a chance "
            f"of {percent(self._watch.confident_false_alarms)} at most. The interval since the change is descriptive, "
            "since where it lies was estimated from the same comparisons."
        )
        return Finding(told, what=what, sure=sure, labels=tuple(row["label"] for row in named), change=change)

    def recovered(self, look: Look) -> str:
        """Recent sure answers, all of them later than the alarm, agree as often as the baseline again."""
        wrongness, known = look.watched.wrongness, look.known
        if known is None or not wrongness.recent.is_back(known.raised, wrongness.baseline.overall):
            return ""
        return "the sure answers agree with the teacher as often as before again"

    def restart(self, look: Look) -> None:
        """Begin anew after the alarm was closed."""
        look.watched.wrongness.detector.restart()


def _since(look: Look, change: Mark | None) -> tuple[WeightedMean, list[dict[str, Any]]]:
    """The sure answers since the change, as far as the trail goes, and the classes that lost, the surest first."""
    first = change.number if change is not None else 0
    overall, after = WeightedMean(), dict[str, WeightedMean]()
    for step in look.watched.trail:
        if step.number >= first and step.confidence >= look.watched.wrongness.level:
            overall.add(step.agrees, step.weight)
            after.setdefault(step.label, WeightedMean()).add(step.agrees, step.weight)
    everything = look.watched.wrongness.student.classes
    tested = [label for label, mean in sorted(after.items()) if mean.count >= _FEWEST]
    before = {label: less(everything.get(label, WeightedMean()), after[label]) for label in tested}
    now = {label: (after[label].effective, after[label].estimate or 0.0) for label in tested}
    p_values = [drop_p(before[label], now[label]) for label in tested]
    lost = benjamini_hochberg(p_values, look.rules.class_fdr)
    rows = [
        {
            "label": label,
            "before": round(before[label][1], 4),
            "after": round(now[label][1], 4),
            "after_comparisons": round(now[label][0], 1),
            "p_value": float(f"{p:.3g}"),
        }
        for label, p, named in zip(tested, p_values, lost, strict=True)
        if named
    ]
    return overall, sorted(rows, key=lambda row: row["p_value"])
