"""What a student costs and saves: the arithmetic, and nothing else.

With c_T and c_S the dollars of one answer of the teacher and of the student, Q queries a month and C0 the dollars that
distilling costs once, the formula that one finds everywhere is

    break-even queries = C0 / (c_T - c_S),

the fixed cost over the margin of a unit (the break-even point of any textbook on cost accounting). It leaves out that
a student which is kept honest never replaces its teacher altogether. In full, a month saves

    S = Q [c_T (1 - t) - c_S] - H - G - R / m,        t = f + a + r (f + a),        a = (1 - f) s

- f: share of the queries that the teacher answers (fallback: what is not trusted, not sure, not readable);
- s: share of the student's answers about which the teacher is asked as well (shadow), so a is their share of all;
- r: share of these comparisons for which it is asked a second time (repeats; what the cascade asked is one of them);
- H: hosting a month, G: asking the teacher its golden set, a month, R: one retraining, m: months from one to the next,

and breaks even after C0 / S months: never where S is not positive. The student is taken to be asked each time, also
where the teacher answers in the end, since that is how one knows that it is not sure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Books:
    """One task's numbers. Dollars are not negative, shares lie in [0, 1]; raises ValueError where they do not."""

    queries: float
    """A month (Q)."""
    teacher_usd: float
    """Of one answer (c_T); `student_usd` the same (c_S)."""
    student_usd: float
    fallback: float
    """Share of all queries (f)."""
    shadow: float
    """Share of the student's answers (s)."""
    repeat: float
    """Share of the comparisons (r)."""
    hosting_usd: float
    """A month (H)."""
    golden_usd: float
    """A month (G)."""
    retraining_usd: float
    """Of one retraining (R)."""
    retraining_months: float
    """From one retraining to the next (m), more than 0; infinite where there is none."""
    distillation_usd: float
    """Once (C0)."""

    def __post_init__(self) -> None:
        """Refuse what is no number of this kind; NaN is none of any."""
        for field in fields(self):
            if not getattr(self, field.name) >= 0:
                raise ValueError(f"{field.name} must be 0 or more")
        for name in ("fallback", "shadow", "repeat"):
            if getattr(self, name) > 1:
                raise ValueError(f"{name} is a share; it must be 1 or less")
        if self.retraining_months == 0:
            raise ValueError("retraining_months must be more than 0")

    @property
    def shadowed(self) -> float:
        """Share of all queries that the teacher is asked about as well (a)."""
        return (1 - self.fallback) * self.shadow

    @property
    def repeated(self) -> float:
        """Share of all queries about which it is asked a second time."""
        return self.repeat * (self.fallback + self.shadowed)

    @property
    def teacher_calls(self) -> float:
        """Calls of the teacher for each query (t): at most 2, where everything is asked twice."""
        return self.fallback + self.shadowed + self.repeated

    @property
    def margin_usd(self) -> float:
        """What a query saves, whatever the volume: c_T (1 - t) - c_S. Negative where the student costs more."""
        return self.teacher_usd * (1 - self.teacher_calls) - self.student_usd

    @property
    def fixed_usd(self) -> float:
        """What a month costs without any query: H + G + R / m."""
        return self.hosting_usd + self.golden_usd + self.retraining_usd / self.retraining_months


@dataclass(frozen=True, slots=True)
class Bill:
    """A month in dollars, item by item."""

    teacher_alone: float
    """What it would be without a student."""
    student: float
    fallback: float
    shadow: float
    repeats: float
    hosting: float
    golden: float
    retraining: float

    @property
    def together(self) -> float:
        """What it is with one."""
        asked = self.fallback + self.shadow + self.repeats + self.golden
        return self.student + asked + self.hosting + self.retraining

    @property
    def saving(self) -> float:
        """The difference (S); negative where the student makes it dearer."""
        return self.teacher_alone - self.together


@dataclass(frozen=True, slots=True)
class BreakEven:
    """When what distilling cost has come back. Infinite: never."""

    saving_usd: float
    """A month."""
    queries: float
    months: float


def bill_of(books: Books) -> Bill:
    """A month's bill."""
    calls_usd = books.queries * books.teacher_usd
    return Bill(
        teacher_alone=calls_usd,
        student=books.queries * books.student_usd,
        fallback=calls_usd * books.fallback,
        shadow=calls_usd * books.shadowed,
        repeats=calls_usd * books.repeated,
        hosting=books.hosting_usd,
        golden=books.golden_usd,
        retraining=books.retraining_usd / books.retraining_months,
    )


def simple_break_even(books: Books) -> BreakEven:
    """By the simple formula: every query goes to the student, and nothing else is ever paid."""
    margin = books.teacher_usd - books.student_usd
    return _break_even(books, books.queries * margin)


def break_even(books: Books) -> BreakEven:
    """With everything."""
    return _break_even(books, books.queries * books.margin_usd - books.fixed_usd)


def least_queries(books: Books, months: float = math.inf) -> float:
    """From how many queries a month on it has paid back within `months`; infinite where no volume does.

    C0 / S <= months solved for Q; by default the volume above which a month saves anything at all.
    """
    if books.margin_usd <= 0:
        return math.inf
    return (books.fixed_usd + books.distillation_usd / months) / books.margin_usd


def _break_even(books: Books, saving: float) -> BreakEven:
    if saving <= 0:
        return BreakEven(saving, math.inf, math.inf)
    months = books.distillation_usd / saving
    return BreakEven(saving, months * books.queries, months)
