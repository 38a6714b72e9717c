"""What of a state is a signal: pure questions, cheap enough to ask after every batch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from monitoring.rules import Rules
from monitoring.state import OpenAlarm, TaskState
from monitoring.statistics.detector import Mark
from monitoring.version import VersionState

STUDENT: Final = "student_agreement"
CLASSES: Final = "class_agreement"
DRIFT: Final = "input_drift"
SIGNALS: Final = (STUDENT, CLASSES, DRIFT)


def is_due(state: TaskState, rules: Rules) -> bool:
    """Whether a review would find something to do about agreement."""
    watched = state.watched
    if watched is None:
        return False
    if any(alarm.version != state.champion or alarm.is_due(watched.number) for alarm in state.alarms.values()):
        return True
    return (STUDENT not in state.alarms and tripped(watched, STUDENT, rules)) or tripped(watched, CLASSES, rules)


def tripped(watched: VersionState, cause: str, rules: Rules) -> bool:
    """Whether the detector of student agreement, or one of the classes', has reached the limit."""
    if cause == STUDENT:
        return watched.detector.value >= rules.limit
    return bool(tripped_classes(watched, rules))


def tripped_classes(watched: VersionState, rules: Rules) -> frozenset[str]:
    """The classes whose detectors have reached the limit."""
    return frozenset(label for label, one in watched.class_detectors.items() if one.value >= rules.limit)


def change_of(watched: VersionState, cause: str, classes: Iterable[str]) -> Mark | None:
    """Where the change is estimated to lie; of several classes, the first."""
    if cause == STUDENT:
        return watched.detector.change
    marks = [mark for label in classes if (mark := watched.class_detectors[label].change) is not None]
    return min(marks, key=lambda mark: mark.number, default=None)


def has_recovered(watched: VersionState, cause: str, alarm: OpenAlarm) -> bool:
    """Hysteresis: the recent comparisons, all of them made after the alarm, agree above the baseline.

    What a class lost, only a candidate or a person can give back: its answers are given no longer.
    """
    student = watched.student
    return (
        cause == STUDENT
        and student.recent_from >= alarm.raised > 0
        and student.recent.estimate is not None
        and student.recent.estimate >= watched.baseline.overall
    )


def restart(watched: VersionState, cause: str) -> None:
    """Begin anew after an alarm was closed: what tripped it is not held against the student twice."""
    if cause == STUDENT:
        watched.detector.restart()
    elif cause == CLASSES:
        for detector in watched.class_detectors.values():
            detector.restart()
