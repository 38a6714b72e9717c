"""What a person should know before a saving is believed."""

from __future__ import annotations

import math
from typing import Final

from training.economics.books import break_even, least_queries
from training.economics.case import Case
from training.economics.sources import ASSUMED

FEW_QUERIES: Final = 100_000
"""Below so many queries a month it rarely pays: a rule of thumb (docs/economics.md)."""

_YEAR: Final = 12.0


def cautions_of(case: Case) -> list[str]:
    """One sentence each, the gravest first."""
    books, told = case.books(), []
    if break_even(books).saving_usd <= 0:
        told.append(_never(case))
    if books.queries < FEW_QUERIES:
        told.append(
            f"{books.queries:,.0f} queries a month are few: below about {FEW_QUERIES:,} distilling rarely pays. All "
            f"that the teacher costs is ${books.queries * books.teacher_usd:,.2f} a month, without people's time"
        )
    return told + assumptions_of(case)


def assumptions_of(case: Case) -> list[str]:
    """What weighs much and is only assumed."""
    told = []
    if case.fallback.source == ASSUMED:
        told.append(
            f"the fallback of {case.fallback.value:.0%} is assumed, and weighs much; give --fallback, or measure it on "
            "a task's traffic"
        )
    if case.once.source == ASSUMED:
        told.append("people's labels and time are not in it; give --once-usd")
    return told


def _never(case: Case) -> str:
    books = case.books()
    if books.teacher_usd == 0:
        return f"{case.teacher.name} costs nothing by the query, so nothing is saved; --teacher compares another"
    least = least_queries(books, _YEAR)
    if math.isinf(least):
        return (
            f"no volume pays: a query costs ${books.teacher_usd:.6f} with the teacher alone and "
            f"${books.teacher_usd - books.margin_usd:.6f} with the student"
        )
    return f"at this volume it never pays; from about {least:,.0f} queries a month on it pays within a year"
