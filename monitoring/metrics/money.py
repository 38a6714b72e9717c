"""Money and speed: what the student saves, what watching it costs, and how long clients wait."""

from __future__ import annotations

from core.records import Answerer
from monitoring.exposition import Page
from monitoring.reader import TaskReader
from monitoring.speed import BUCKETS

_UNPRICED = "NaN while nobody knows the teacher's price."


def draw_money(page: Page, reader: TaskReader) -> None:
    """Dollars, since the monitor first read the task."""
    money = reader.state.money
    known = money.is_priced
    sums = {
        "saved_dollars_total": (
            "What the student's answers would have cost at the teacher's price, by the tokens that it counted.",
            money.saved,
        ),
        "shadow_dollars_total": (
            "What the teacher was asked for the sake of watching: comparisons, second questions, the golden set.",
            money.watching,
        ),
        "fallback_dollars_total": ("What the teacher's answers to clients cost.", money.fallback),
    }
    for name, (text, dollars) in sums.items():
        page.counter(name, f"{text} {_UNPRICED}", dollars if known else float("nan"))
    page.gauge(
        "net_saved_dollars",
        f"Saved dollars less shadow dollars; without a student, fallback would be paid as well. {_UNPRICED}",
        money.net if known else None,
    )
    page.counter(
        "unvalued_answers_total",
        "Answers of the student that are in no sum of saved dollars: no price was known, or no tokens were counted.",
        money.unvalued,
    )


def draw_speed(page: Page, reader: TaskReader) -> None:
    """Histograms of what clients wait for."""
    speed = reader.state.speed
    for answerer in (Answerer.STUDENT, Answerer.TEACHER):
        histogram = speed.of(answerer)
        page.histogram(
            "answer_seconds",
            "Time from a request to the end of its answer, by who answered. Descriptive.",
            BUCKETS,
            histogram.counts,
            histogram.milliseconds / 1000,
            {"answerer": answerer.value},
        )


def draw_reports(page: Page, reader: TaskReader) -> None:
    """The reports that this process has written by itself."""
    for outcome, count in reader.reports.items():
        page.counter("reports_total", "Reports by what came of them.", count, {"outcome": outcome})
