"""Drift of the last window of exchanges."""

from __future__ import annotations

from monitoring.drift.verdict import SIGNALS, Verdict
from monitoring.exposition import Page
from monitoring.reader import TaskReader


def draw_drift(page: Page, reader: TaskReader) -> None:
    """Scores beside their thresholds, the test's parts beside their levels, and how often each class comes."""
    drift = reader.state.drift
    if not reader.rules.drift.window:
        return
    page.gauge(
        "drift_reference",
        "Exchanges of the champion's reference that windows are compared with; 0 while it is gathered.",
        len(drift.reference.rows) if drift.reference is not None else 0,
    )
    page.counter("drift_windows_skipped_total", "Windows that were full while the one before waited.", drift.skipped)
    page.gauge("drift_windows", "Windows of the champion that were compared with the reference.", drift.windows)
    page.counter(
        "other_label_set_total",
        "Answers of the champion by a label set that is not the task's.",
        sum(drift.label_sets.values()),
    )
    last = drift.last
    if last is not None:
        page.keep("drift", (drift.version, drift.windows), lambda part: _draw_verdict(part, last))


def _draw_verdict(page: Page, last: Verdict) -> None:
    for score in last.scores:
        if score.signal in SIGNALS:
            labels = {"signal": score.signal}
            page.gauge("drift_score", "Drift of the last window against the reference.", score.score, labels)
            page.gauge("drift_threshold", "What one window in a hundred passes without drift.", score.threshold, labels)
    for part in last.parts:
        labels = {"part": part.name}
        page.gauge("drift_p_value", "P-value of a part of the last window's test.", part.p_value, labels)
        page.gauge("drift_level", "P-value at or below which that part is called drift.", part.level, labels)
    page.gauge("drift_window_timestamp_seconds", "When the last window that was compared ended.", last.ended)
    for share in last.classes:
        labels = {"class": share.label}
        text = "Estimated share of a class in the last window"
        page.gauge("class_share", f"{text}. Descriptive.", share.now, labels)
        page.gauge("class_share_lower", f"{text}, lower end of 95 % by bootstrap. Descriptive.", share.lower, labels)
        page.gauge("class_share_upper", f"{text}, upper end of 95 % by bootstrap. Descriptive.", share.upper, labels)
