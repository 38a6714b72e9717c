"""The books: what distilling costs, what a student saves, and when the one has paid for the other."""

from training.economics.books import (
    Bill,
    Books,
    BreakEven,
    bill_of,
    break_even,
    least_queries,
    simple_break_even,
)
from training.economics.case import Case, Found, Given, Model, assemble
from training.economics.cautions import FEW_QUERIES, assumptions_of, cautions_of
from training.economics.sources import ASSUMED, Known

__all__ = [
    "ASSUMED",
    "FEW_QUERIES",
    "Bill",
    "Books",
    "BreakEven",
    "Case",
    "Found",
    "Given",
    "Known",
    "Model",
    "assemble",
    "assumptions_of",
    "bill_of",
    "break_even",
    "cautions_of",
    "least_queries",
    "simple_break_even",
]
