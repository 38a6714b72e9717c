"""Agreement of the champion, overall, and what of its comparisons counted."""

from __future__ import annotations

from functools import partial
from typing import Final

from core.records import Outcome
from monitoring.agreement import Agreement
from monitoring.exposition import Page
from monitoring.metrics.intervals import draw_interval
from monitoring.predicted_agreement import PredictedAgreement
from monitoring.reader import TaskReader
from monitoring.statistics.confidence import confidence_sequence
from monitoring.statistics.prediction import PredictedMean
from monitoring.statistics.prediction_interval import predicted_sequence, worst_case

_WHAT: Final = "agreement with the teacher, by estimand and span"


def draw_agreement(page: Page, reader: TaskReader) -> None:
    """Both estimands with their intervals, and the comparisons behind them."""
    watched = reader.state.watched
    if watched is None:
        return
    labels = {"version": watched.version}
    old = watched.freshness.is_old(reader.state.staleness.looked_at, reader.rules.stale_seconds)
    _student(page, reader, watched.predicted, labels | {"estimand": "student"}, old=old)
    _served(page, reader, watched.served, labels | {"estimand": "served"}, old=old)
    for outcome in Outcome:
        page.gauge(
            "comparisons",
            "Comparisons of the champion, by outcome.",
            watched.outcomes.get(outcome.value, 0),
            labels | {"outcome": outcome.value},
        )
    page.gauge("bursts", "Comparisons of near-duplicates that did not count.", watched.bursts, labels)
    page.gauge(
        "awaited_comparisons",
        "Exchanges drawn for comparison of which nothing has come yet.",
        watched.drawn - watched.arrived,
        labels,
    )
    page.gauge("cut_weights", "Weights cut since the sampling probability fell suddenly.", watched.scale.cut, labels)


def _student(
    page: Page, reader: TaskReader, predicted: PredictedAgreement, labels: dict[str, str], *, old: bool
) -> None:
    """With predictions. `old`: what is called recent is so no longer, and nobody knows what agreement is now."""
    error = reader.rules.interval_error
    for span, mean in (("version", predicted.whole), ("recent", predicted.recent)):
        named = labels | {"span": span}
        known = None if span == "recent" and old else mean
        page.keep(
            ("student_agreement", labels["version"], span),
            (predicted.whole.compared, predicted.whole.missing, known is None),
            partial(_draw_predicted, mean=known, error=error, labels=named),
        )
    counts = {
        "uncounted_exchanges": ("Exchanges after the first whose comparison is awaited.", predicted.uncounted),
        "repeated_exchanges": ("Exchanges left out of student agreement as repeats.", predicted.repeats),
        "cut_exchanges": ("Exchanges whose weight in student agreement was cut.", predicted.cut),
    }
    for name, (text, count) in counts.items():
        page.gauge(name, text, count, {"version": labels["version"]})


def _draw_predicted(page: Page, mean: PredictedMean | None, error: float, labels: dict[str, str]) -> None:
    interval = worst = None
    if mean is not None:
        interval, worst = predicted_sequence(mean, error), worst_case(mean, error)
    draw_interval(page, "agreement", _WHAT, interval, labels)
    lower, upper = (None, None) if worst is None else (worst.lower, worst.upper)
    page.gauge("agreement_worst_lower", "The lower limit, if nothing that is missing agreed.", lower, labels)
    page.gauge("agreement_worst_upper", "The upper limit, if everything that is missing agreed.", upper, labels)


def _served(page: Page, reader: TaskReader, agreement: Agreement, labels: dict[str, str], *, old: bool) -> None:
    for span, mean in (("version", agreement.whole), ("recent", agreement.recent)):
        known = span == "version" or not old
        interval = confidence_sequence(mean, reader.rules.interval_error) if known else None
        draw_interval(page, "agreement", _WHAT, interval, labels | {"span": span})
