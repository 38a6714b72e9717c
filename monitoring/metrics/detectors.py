"""The detectors of a loss of agreement, and the level below which they look for one."""

from __future__ import annotations

from monitoring.exposition import Page
from monitoring.reader import TaskReader
from monitoring.signals import CLASSES, SERVED, STUDENT


def draw_detectors(page: Page, reader: TaskReader) -> None:
    """Each detector's evidence beside its limit."""
    watched = reader.state.watched
    if watched is None:
        return
    page.gauge(
        "baseline",
        "Student agreement is this at least, as learnt from the version's comparisons: where an alarm recovers.",
        watched.baseline.overall,
        {"version": watched.version},
    )
    highest = max((detector.value for detector in watched.class_detectors.values()), default=0.0)
    served = watched.served_watch
    page.gauge(
        "served_baseline",
        "Served agreement below which a drop is looked for.",
        served.baseline.overall,
        {"version": watched.version},
    )
    for signal, value in ((STUDENT, watched.detector.value), (CLASSES, highest), (SERVED, served.detector.value)):
        draw_detector(page, signal, value, reader.rules.student_limit if signal == STUDENT else reader.rules.limit)


def draw_detector(page: Page, signal: str, value: float, limit: float) -> None:
    """One detector's evidence beside its limit."""
    text = "Evidence that agreement fell below its baseline; of classes, the highest. An alarm at the limit."
    page.gauge("detector", text, value, {"signal": signal})
    page.gauge("detector_limit", "The detector's limit.", limit, {"signal": signal})
