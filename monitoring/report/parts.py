"""The parts of a report: plain records, which are its JSON as they are. None: not known.

Shares are between 0 and 1, times are seconds since the epoch (UTC), durations milliseconds, amounts dollars.
"""

from __future__ import annotations

import msgspec


class Estimate(msgspec.Struct, frozen=True):
    """A share with limits that hold at all times together, and how many observations it rests on."""

    estimate: float
    lower: float
    upper: float
    count: int


class Slot(msgspec.Struct, frozen=True):
    """A part of the window."""

    began: float
    ended: float
    exchanges: int
    by_teacher: int
    agreement: Estimate | None
    """Student agreement of its own comparisons; `so_far`: of all since the window began."""
    so_far: Estimate | None


class ClassLine(msgspec.Struct, frozen=True):
    """One class, by the student's label."""

    label: str
    exchanges: int
    share: float
    """Of all exchanges that the student read."""
    agreement: Estimate | None
    expected: float | None
    """Mean confidence: what agreement would be, were the student calibrated and the task unchanged. Descriptive."""
    trusted: bool | None
    """Now; None: nothing is known of this version's trust."""
    alarmed: bool
    """An alarm of the window names it."""


class Band(msgspec.Struct, frozen=True):
    """Answers of one band of confidence."""

    name: str
    agreement: Estimate | None


class Bar(msgspec.Struct, frozen=True):
    """A tenth of the confidence in the reliability diagram. Descriptive."""

    began: float
    comparisons: int
    confidence: float | None
    agreement: float | None


class Ece(msgspec.Struct, frozen=True):
    """An expected calibration error beside that of a perfectly calibrated student. Descriptive."""

    bins: str
    value: float | None
    by_chance: float | None
    by_chance_upper: float | None
    """Passed once in twenty times by a perfectly calibrated student."""


class CalibrationFacts(msgspec.Struct, frozen=True):
    """How well confidence tells agreement, in the window. Descriptive."""

    bars: list[Bar]
    ece: list[Ece]
    class_ece: float | None
    class_ece_by_chance: float | None
    brier: float | None
    nll: float | None
    overconfidence: float | None
    """Mean confidence less agreement."""
    expected: float | None
    """Mean confidence over all exchanges that the student read (CBPE)."""


class WrongLine(msgspec.Struct, frozen=True):
    """Of answers with at least this confidence, the share that is wrong: whose they are, and by whose word."""

    who: str
    judge: str
    confidence: float
    wrong: Estimate | None
    label: str = ""
    """Only answers of this class; empty: all."""


class Disagreement(msgspec.Struct, frozen=True):
    """A confident disagreement, by its exchange's id."""

    exchange: str
    student: str
    teacher: str
    confidence: float


class FeedbackClass(msgspec.Struct, frozen=True):
    """A class by feedback."""

    label: str
    given: int
    """Answers of the student of this class that were judged; `truth`: that should have been of it."""
    truth: int
    precision: Estimate | None
    recall: Estimate | None
    f1: float | None
    """Descriptive."""


class FeedbackShare(msgspec.Struct, frozen=True):
    """How much of some exchanges got feedback."""

    by: str
    cell: str
    exchanges: int
    judged: int


class Uneven(msgspec.Struct, frozen=True):
    """Whether feedback comes equally often everywhere."""

    by: str
    p_value: float
    uneven: bool
    """The p-value is 1 % or less: then accuracy on feedback is not that of all answers."""


class FeedbackFacts(msgspec.Struct, frozen=True):
    """What clients said of answers of the window, as far as it has come by now."""

    judged: int
    """Answers of the student with feedback, of `answers`."""
    answers: int
    accuracy: Estimate | None
    teacher: Estimate | None
    """Accuracy of the teacher's answers; `withheld`: of what the student had said there."""
    withheld: Estimate | None
    least: float | None
    """Accuracy over all answers of the student, were every one without feedback wrong; `most`: right."""
    most: float | None
    reweighted: float | None
    """Were feedback missing at random within each class. Descriptive."""
    macro_f1: float | None
    """Descriptive."""
    classes: list[FeedbackClass]
    shares: list[FeedbackShare]
    uneven: list[Uneven]


class DriftLine(msgspec.Struct, frozen=True):
    """A score of the last comparison with the reference, beside what one window in a hundred passes without drift."""

    signal: str
    score: float
    threshold: float
    p_value: float


class DriftPart(msgspec.Struct, frozen=True):
    """A part of that comparison's test."""

    name: str
    p_value: float
    level: float
    drift: bool


class Mix(msgspec.Struct, frozen=True):
    """How often a class comes, estimated; the interval by bootstrap. Descriptive."""

    label: str
    before: float
    now: float
    lower: float
    upper: float


class DriftFacts(msgspec.Struct, frozen=True):
    """The last comparison of exchanges with the version's frozen reference that was over when the snapshot was made."""

    began: float
    ended: float
    rows: int
    reference: int
    windows: int
    """That were compared since the version began."""
    lines: list[DriftLine]
    parts: list[DriftPart]
    mix: list[Mix]
    """The classes that have moved most."""


class AlarmLine(msgspec.Struct, frozen=True):
    """An alarm that was open at some time of the window."""

    id: str
    version: str
    cause: str
    severity: str
    state: str
    opened: float
    resolved: float | None
    classes: list[str]
    what: str
    sure: str
    done: str
    first_exchange: str


class RunLine(msgspec.Struct, frozen=True):
    """A retraining that was under way at some time of the window."""

    id: str
    state: str
    champion: str
    candidate: str
    started: float
    updated: float
    reason: str
    dollars: float | None
    """For labels and its trial; None while it is not known."""


class Deed(msgspec.Struct, frozen=True):
    """An entry of the audit trail."""

    at: float
    actor: str
    action: str
    version: str


class MoneyFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Dollars, against a world in which the teacher answers everything."""

    student_answers: int
    uncounted_answers: int
    """Of these, the ones without a count of tokens: they are worth nothing in `saved`."""
    teacher_answers: int
    price_source: str | None = None
    """Where the teacher's price is known from; None: it is not, and so are the amounts."""
    saved: float | None = None
    """The student's answers at the teacher's price, by the tokens that the student counted."""
    saved_by_comparisons: float | None = None
    """The same at what comparisons of these answers cost, weighted by inclusion probability. Descriptive."""
    shadow: float | None = None
    golden: float | None = None
    net: float | None = None
    """`saved` less `shadow` and `golden`."""
    fallback: float | None = None
    """What the teacher's answers to clients cost; it would be paid without a student as well."""
    runs: float | None = None
    """Retrainings that ended in the window, of the whole task; not in `net`."""


class SpeedLine(msgspec.Struct, frozen=True):
    """Times and throughput of one answerer. Descriptive."""

    answerer: str
    answers: int
    p50: float
    p95: float
    p99: float
    upstream_p50: float
    """Of it, the time that student and teacher took."""
    per_second: float
    """In the mean of the window as far as it has passed; `busiest`: in its busiest minute."""
    busiest: float
