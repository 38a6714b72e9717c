"""Everything that a report says, as one record, which is its JSON as it is; units as in `parts`."""

from __future__ import annotations

import msgspec

from monitoring.report.parts import (
    AlarmLine,
    Band,
    CalibrationFacts,
    ClassLine,
    Deed,
    Disagreement,
    DriftFacts,
    Estimate,
    FeedbackFacts,
    MoneyFacts,
    RunLine,
    Slot,
    SpeedLine,
    WrongLine,
)


class Whole(msgspec.Struct, frozen=True):
    """The version since it began, by the monitor's snapshot."""

    as_of: float
    champion: bool
    agreement: Estimate | None
    """Student agreement with the confidence of every exchange to help."""
    worst_lower: float | None
    """Limits whatever the teacher would have said of what is missing."""
    worst_upper: float | None
    served: Estimate | None
    baseline: float | None
    """A lower bound of student agreement, as learnt from its first comparisons."""
    ceiling: Estimate | None
    """How often the teacher agrees with itself."""
    attainable: float | None
    teacher_agreement: float | None
    """Share of the golden set that the teacher answered as at first, in its last round."""
    teacher_changed: bool
    stale: list[str]
    """What should have come to judge the student by, and has not."""


class EvidentlyFacts(msgspec.Struct, frozen=True):
    """Evidently's own page beside this one."""

    written: bool
    why_not: str = ""


class Report(msgspec.Struct, frozen=True):
    """Everything that the page shows."""

    task: str
    version: str
    began: float
    ended: float
    window: str
    written: float
    archived_until: float | None
    """The newest exchange of the task that was archived when this was written; the window may go on behind it."""
    other_versions: dict[str, int]
    """Exchanges in the window by other versions that read them."""
    state: str
    """`good`, `changed`, `bad` or `unknown`."""
    headline: str
    good: list[str]
    """Is the student still good? `changed`: what has changed? `done`: what was done?"""
    changed: list[str]
    done: list[str]
    exchanges: int
    by_student: int
    by_teacher: int
    failed: int
    """Exchanges that nobody answered: the client received an error."""
    reasons: dict[str, int]
    comparisons: int
    """That have the teacher's label and count."""
    bursts: int
    missing: dict[str, int]
    """Comparisons without the teacher's label, by outcome."""
    one_in: int
    """All statistics of comparisons rest on one exchange in so many, drawn at random; 1: on all."""
    interval_error: float
    agreement: Estimate | None
    served: Estimate | None
    slots: list[Slot]
    slot_seconds: float
    classes: list[ClassLine]
    bands: list[Band]
    calibration: CalibrationFacts
    wrong: list[WrongLine]
    wrong_classes: list[WrongLine]
    """By class: the student's answers by comparison, from the watched confidence on."""
    disagreements: list[Disagreement]
    feedback: FeedbackFacts
    drift: DriftFacts | None
    drift_unknown: str
    """Why there is nothing on drift; empty where there is."""
    alarms: list[AlarmLine]
    runs: list[RunLine]
    deeds: list[Deed]
    money: MoneyFacts
    speed: list[SpeedLine]
    whole: Whole | None
    whole_unknown: str
    evidently: EvidentlyFacts | None = None
