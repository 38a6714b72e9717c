"""How a task's student is watched."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from pydantic import Field, field_validator

from core.settings.sections import Section

_LEAST_WINDOW: Final = 100  # exchanges


class WatchSettings(Section):
    """How a task's student is watched, and what an alarm does."""

    interval_error: float = Field(0.05, gt=0, lt=0.5)
    """Chance that an agreement's interval ever misses the truth, however often one looks."""
    false_alarms: float = Field(0.01, gt=0, lt=0.5)
    """Chance of a false alarm about agreement within `horizon` comparisons, over all detectors of the task together."""
    horizon: int = Field(20_000, ge=100)
    """Comparisons for which `false_alarms` is promised, counted as if each had the lowest sampling probability."""
    margin: float = Field(0.01, ge=0, lt=0.5)
    """Drops of agreement smaller than this are not looked for. A class, and what is served, may fall by so much;
    student agreement that falls by less is an alarm by chance only."""
    reference_comparisons: int = Field(10_000, ge=100)
    """The lower bounds of agreement are learnt from a version's first so many comparisons. What is expected of student
    agreement is learnt from all of them."""
    recent_comparisons: int = Field(200, ge=20)
    """What counts as recent agreement: the last so many to twice as many comparisons."""
    burst_window: int = Field(200, ge=1)
    """Near-duplicates among so many comparisons count as one."""
    class_fdr: float = Field(0.1, gt=0, lt=1)
    """Of the classes that an alarm names, the share that may be named by chance."""
    withdraw: Literal["rejudged", "named", "none"] = "rejudged"
    """From which classes an alarm takes trust at once. `named`: from those with evidence of loss. `rejudged`: also from
    those which the rule of `trust` would not trust on what was seen since the change, so that something is done where
    no class can be named yet. `none`: from none."""
    max_fallback_share: float = Field(0.5, gt=0, le=1)
    """Trust is not taken from so many classes that the teacher would answer more than this share; the alarm then says
    which classes kept their trust all the same, and is critical."""
    retrain_on: list[
        Literal[
            "student_agreement",
            "class_agreement",
            "served_agreement",
            "below_earlier_level",
            "feedback_accuracy",
            "calibration",
            "confident_wrongness",
            "input_drift",
        ]
    ] = ["student_agreement", "class_agreement", "served_agreement", "below_earlier_level", "feedback_accuracy"]
    """Alarms that ask for the student to be taught again; the others only warn. `input_drift` does so only once
    agreement is shown to have fallen since the drift began. A changed teacher, a class that seems to be missing and
    numbers that have grown stale never do: they need a person."""
    cooldown_minutes: float = Field(30.0, ge=0)
    """The shortest time between two alarms of one cause about one version."""
    confident_from: list[float] = Field([0.8, 0.9, 0.95, 0.99], min_length=1, max_length=8)
    """Confidences from which on the rate of wrong answers is reported, for student and teacher. A disagreement in which
    the student was at least as sure as the lowest of them is kept for `tutelage review`."""
    confident_alarm_from: float = Field(0.9, gt=0, lt=1)
    """From this confidence on the rate of disagreements is watched, and reported by class. That it rises is an alarm
    (`confident_wrongness`), which only warns."""
    confident_false_alarms: float = Field(0.01, gt=0, lt=0.5)
    """Chance of a false alarm of this kind within `horizon` comparisons."""
    review_queue: int = Field(200, ge=0, le=10_000)
    """Most disagreements that wait for a person's verdict. 0: none are kept."""
    feedback_false_alarms: float = Field(0.01, gt=0, lt=0.5)
    """Chance of a false alarm about accuracy on feedback (`feedback_accuracy`) within `horizon` of the student's
    answers with feedback."""
    feedback_wait_hours: float = Field(24.0, ge=0)
    """How long feedback waits for its exchange to be archived before it is given up."""
    feedback_days: float = Field(90.0, gt=0)
    """How many days back an exchange is looked for that feedback calls by the completion's id of the upstream. One that
    it calls by our id is found however old it is."""
    calibration_margin: float = Field(0.05, ge=0, lt=0.5)
    """How much the student's confidence may be above its agreement, in the mean over all inputs, before that is an
    alarm (`calibration`)."""
    calibration_false_alarms: float = Field(0.01, gt=0, lt=0.5)
    """Chance of a false alarm of this kind within `horizon` comparisons."""
    drift_window: int = Field(1000, ge=0)
    """Exchanges in a window that is compared with the reference for drift, at least 100; 0 compares none. The reference
    is made of a version's first exchanges, three times as many."""
    drift_window_minutes: float = Field(10.0, ge=0)
    """A window spans at least so long; where more exchanges come in that time, it is a random sample of them."""
    drift_reference_hours: float = Field(24.0, ge=0)
    """The reference spans at least so long; nothing is compared before."""
    drift_false_alarms: float = Field(0.01, gt=0, lt=0.5)
    """Chance that anything is called drift, or a new class suspected, within `drift_horizon` windows without drift."""
    drift_horizon: int = Field(200, ge=1, le=10_000)
    """Windows for which `drift_false_alarms` is promised."""
    drift_season_weeks: float = Field(3.0, ge=0, le=26)
    """Once calm windows span so many weeks, the mix of labels is compared with that of the same hours of the week;
    until then, and for 0 always, with that of the whole reference."""
    golden: list[Path] = []
    """CSV or JSONL with `text`, and `label` where the truth is known: what the teacher is asked again and again, to see
    whether it has changed. Without any, the first comparisons of the task's traffic are taken, where texts are kept."""
    golden_size: int = Field(200, ge=20, le=2000)
    """Most texts that are asked again."""
    golden_hours: float | None = Field(24.0, gt=0)
    """How often they are asked. null: never. Needs `teacher.data_may_leave: true`."""
    golden_dollars: float | None = Field(1.0, gt=0)
    """Dollars that asking all of them once may cost, where the teacher's price is known; what is left over then is not
    asked. null: no limit."""
    golden_false_alarms: float = Field(0.01, gt=0, lt=0.5)
    """Chance that the teacher is ever called changed while it has not."""
    hold_on_teacher_drift: bool = False
    """Whether no retraining starts by itself as long as the teacher is called changed: a student would learn from
    answers that nobody has looked at yet."""
    stale_hours: float | None = Field(24.0, gt=0)
    """Traffic that goes on for so long without anything fresh to judge it by is an alarm, and recent agreement is then
    unknown (NaN). null: neither."""
    report_hours: float | None = Field(24.0, ge=1, le=24 * 366)
    """How long the windows are of which the monitor writes a report by itself (`tutelage report`), for each version
    that answered in one: 24 is a day of UTC. null: none is written by itself."""
    report_days: float | None = Field(90.0, gt=0)
    """For how many days reports are kept after they were written. null: for good."""

    @field_validator("confident_from")
    @classmethod
    def _are_confidences(cls, confidences: list[float]) -> list[float]:
        if not all(0 < one < 1 for one in confidences):
            raise ValueError("a confidence from which on answers count as sure lies between 0 and 1")
        return confidences

    @field_validator("drift_window")
    @classmethod
    def _windows_are_large_enough(cls, size: int) -> int:
        if 0 < size < _LEAST_WINDOW:
            raise ValueError(
                f"a window of {size} exchanges shows nothing; give at least {_LEAST_WINDOW}, or 0 to compare none"
            )
        return size
