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
SERVED: Final = "served_agreement"
BELOW: Final = "below_earlier_level"
DRIFT: Final = "input_drift"
CALIBRATION: Final = "calibration"
WRONGNESS: Final = "confident_wrongness"
FEEDBACK: Final = "feedback_accuracy"
NEW_CLASS: Final = "new_class"
TEACHER: Final = "teacher_drift"
STALENESS: Final = "staleness"
SIGNALS: Final = (
    STUDENT,
    CLASSES,
    SERVED,
    BELOW,
    FEEDBACK,
    CALIBRATION,
    WRONGNESS,
    DRIFT,
    NEW_CLASS,
    TEACHER,
    STALENESS,
)
"""Every cause that an alarm may have."""
_DETECTED: Final = (STUDENT, CLASSES, SERVED)  # by detectors that move with every comparison


def is_due(state: TaskState, rules: Rules) -> bool:
    """Whether a review would find something to do about agreement at once; everything else waits for the next one."""
    watched = state.watched
    if watched is None:
        return False
    for cause in _DETECTED:
        alarm = state.alarms.get(cause)
        if alarm is not None and (alarm.version != state.champion or alarm.is_due(watched.number)):
            return True
        if (alarm is None or cause == CLASSES) and tripped(watched, cause, rules):
            return True
    return False


def tripped(watched: VersionState, cause: str, rules: Rules) -> bool:
    """Whether the detector of student or of served agreement, or one of the classes', has reached the limit."""
    if cause == STUDENT:
        return watched.detector.value >= rules.student_limit
    if cause == SERVED:
        return watched.served_watch.detector.value >= rules.limit
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
    return cause == STUDENT and watched.student.is_back(alarm.raised, watched.baseline.overall)


def restart(watched: VersionState, cause: str) -> None:
    """Begin anew after an alarm was closed: what tripped it is not held against the student twice."""
    if cause == STUDENT:
        watched.detector.restart()
    elif cause == CLASSES:
        for detector in watched.class_detectors.values():
            detector.restart()
