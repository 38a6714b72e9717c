"""The parts of a report that the monitor's snapshot knows: the version since it began, and drift."""

from __future__ import annotations

from typing import Final

from monitoring.noise_ceiling import attainable
from monitoring.report.facts import Whole
from monitoring.report.parts import DriftFacts, DriftLine, DriftPart, Estimate, Mix
from monitoring.report.replay import estimate
from monitoring.rules import Rules
from monitoring.state import TaskState
from monitoring.statistics.prediction_interval import predicted_sequence, worst_case

_MOVED: Final = 10


def whole_of(found: tuple[TaskState, float] | None, version: str, rules: Rules) -> tuple[Whole | None, str]:
    """The version as a whole; None with the reason where nothing is known of it."""
    if found is None:
        return None, "the monitor has stored no snapshot of this task yet"
    state, at = found
    watched = state.versions.get(version)
    if watched is None:
        return None, f"the monitor keeps the last few versions only, and no longer version {version}"
    interval = predicted_sequence(watched.predicted.whole, rules.interval_error)
    worst = worst_case(watched.predicted.whole, rules.interval_error)
    ceiling = estimate(state.ceiling.mean, rules.interval_error)
    return (
        Whole(
            as_of=at,
            champion=state.champion == version,
            agreement=None
            if interval is None
            else Estimate(interval.estimate, interval.lower, interval.upper, watched.predicted.whole.compared),
            worst_lower=None if worst is None else worst.lower,
            worst_upper=None if worst is None else worst.upper,
            served=estimate(watched.served.whole, rules.interval_error),
            baseline=watched.baseline.overall or None,
            ceiling=ceiling,
            attainable=None if ceiling is None else attainable(ceiling.upper),
            teacher_agreement=state.golden.agreement,
            teacher_changed=state.golden.changed is not None,
            stale=list(state.staleness.sources) if state.champion == version else [],
        ),
        "",
    )


def drift_of(found: tuple[TaskState, float] | None, version: str, rules: Rules) -> tuple[DriftFacts | None, str]:
    """What came of the last comparison with the reference; None with the reason where there was none."""
    if not rules.drift.window:
        return None, "watch.drift_window is 0: nothing is compared"
    if found is None:
        return None, "the monitor has stored no snapshot of this task yet"
    drift = found[0].drift
    if drift.version != version:
        return None, f"the monitor watches the drift of one version, which is no longer version {version}"
    if drift.reference is None:
        return None, "the version's reference is still being gathered (watch.drift_reference_hours)"
    if drift.last is None:
        return None, "no window has been full yet since the reference was frozen"
    last = drift.last
    moved = sorted(last.classes, key=lambda one: -abs(one.now - one.before))[:_MOVED]
    return (
        DriftFacts(
            began=last.began,
            ended=last.ended,
            rows=last.rows,
            reference=last.reference,
            windows=drift.windows,
            lines=[DriftLine(one.signal, one.score, one.threshold, one.p_value) for one in last.scores],
            parts=[DriftPart(one.name, one.p_value, one.level, one.is_drift) for one in last.parts],
            mix=[Mix(one.label, one.before, one.now, one.lower, one.upper) for one in moved],
        ),
        "",
    )
