"""The teacher: how often it agrees with itself, and whether it is the one it was."""

from __future__ import annotations

from core.records import Outcome
from monitoring.exposition import Page
from monitoring.metrics.intervals import draw_interval
from monitoring.noise_ceiling import attainable
from monitoring.reader import TaskReader
from monitoring.staleness import SOURCES
from monitoring.statistics.confidence import confidence_sequence


def draw_teacher(page: Page, reader: TaskReader) -> None:
    """The noise ceiling, the golden set's answers, and what has grown stale."""
    ceiling, golden, stale = reader.state.ceiling, reader.state.golden, reader.state.staleness
    interval = confidence_sequence(ceiling.mean, reader.rules.interval_error)
    draw_interval(page, "noise_ceiling", "agreement of the teacher with itself, asked the same again", interval, {})
    page.gauge(
        "attainable_agreement",
        "Agreement that no student is expected to exceed: the square root of the noise ceiling's upper limit.",
        None if interval is None else attainable(interval.upper),
    )
    for outcome in Outcome:
        page.gauge(
            "repeats",
            "Comparisons for which the teacher was asked again, by what came of that.",
            ceiling.outcomes.get(outcome.value, 0),
            {"outcome": outcome.value},
        )
    page.gauge(
        "teacher_drift_agreement",
        "Share of the golden set that the teacher answered as at first, in the last round.",
        golden.agreement,
    )
    page.gauge("teacher_drift_usual_agreement", "The same of the rounds before, or before it changed.", golden.usual)
    page.gauge(
        "teacher_drift_truth", "Share of the golden set's labelled texts that the last round got right.", golden.truth
    )
    page.gauge("teacher_drift_changed", "1 while the teacher is called changed.", golden.changed is not None)
    page.gauge(
        "teacher_drift_last_asked_timestamp_seconds",
        "When the golden set was last asked.",
        golden.asked_at or None,
    )
    for source in SOURCES:
        page.gauge(
            "stale",
            "1 while traffic goes on and this source, from which something should have come, is silent.",
            source in stale.sources,
            {"source": source},
        )
