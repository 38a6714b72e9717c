"""Accuracy on feedback, and how much of it there is."""

from __future__ import annotations

from functools import partial
from typing import Final

from core.records import Answerer
from monitoring.exposition import Page
from monitoring.feedback.accuracy import Answers, VersionFeedback, Whose
from monitoring.feedback.exposure import DIMENSIONS
from monitoring.feedback.state import FeedbackOutcome
from monitoring.metrics.intervals import draw_interval
from monitoring.reader import TaskReader
from monitoring.statistics.classification import Classification, as_mean
from monitoring.statistics.confidence import confidence_sequence
from monitoring.statistics.missing import reweighted, worst_case

_REPORTED: Final = "Speaks of what was reported"


def draw_feedback(page: Page, reader: TaskReader) -> None:
    """What came of feedback, and for the champion what it says."""
    state = reader.state.feedback
    for outcome in FeedbackOutcome:
        page.counter(
            "feedback_total",
            "Feedback read, by what came of it.",
            state.outcomes.get(outcome, 0),
            {"outcome": outcome.value},
        )
    page.gauge("feedback_waiting", "Feedback whose exchange is still looked for.", len(state.waiting))
    page.gauge("last_feedback_timestamp_seconds", "When the newest feedback was given.", state.last or None)
    version = state.versions.get(reader.state.champion)
    if version is None:
        return
    labels = {"version": reader.state.champion}
    for whose in Whose:
        _draw_accuracy(page, reader, version.of(whose), labels | {"answerer": whose.value})
    _draw_bounds(page, version, labels)
    _draw_shares(page, version, labels)
    counts = version.student.counts
    page.gauge("feedback_macro_f1", "Mean F1 of the classes on feedback. Descriptive.", counts.macro_f1, labels)
    for label in counts.labels:
        stamp = counts.given.get(label, 0), counts.truth.get(label, 0), counts.hits.get(label, 0)
        page.keep(
            ("feedback_class", reader.state.champion, label),
            stamp,
            partial(_draw_class, reader=reader, counts=counts, label=label),
        )


def _draw_accuracy(page: Page, reader: TaskReader, answers: Answers, labels: dict[str, str]) -> None:
    counts, recent = answers.counts, answers.recent
    page.gauge(
        "feedback_answers",
        "Answers with feedback: the student's, the teacher's, and what the student said where the teacher answered.",
        counts.total,
        labels,
    )
    for span, right, total in (
        ("version", counts.correct, counts.total),
        ("recent", recent.right, recent.total),
    ):
        interval = confidence_sequence(as_mean(right, total), reader.rules.interval_error)
        draw_interval(
            page, "feedback_accuracy", f"share of right answers. {_REPORTED}", interval, labels | {"span": span}
        )


def _draw_class(page: Page, *, reader: TaskReader, counts: Classification, label: str) -> None:
    labels, hits, error = {"class": label}, counts.hits.get(label, 0), reader.rules.interval_error
    for name, what, total in (
        ("feedback_precision", "the student's answers of a class that are right", counts.given.get(label, 0)),
        ("feedback_recall", "what is of a class that the student answered so", counts.truth.get(label, 0)),
    ):
        interval = confidence_sequence(as_mean(hits, total), error)
        draw_interval(page, name, f"share of {what}. {_REPORTED}", interval, labels)
    page.gauge("feedback_f1", "F1 of a class on feedback. Descriptive.", counts.f1(label), labels)


def _draw_bounds(page: Page, version: VersionFeedback, labels: dict[str, str]) -> None:
    for whose, by in ((Whose.STUDENT, Answerer.STUDENT), (Whose.TEACHER, Answerer.TEACHER)):
        counts = version.of(whose).counts
        bounds = worst_case(counts.correct, counts.total, version.exposure.total(by))
        ends = labels | {"answerer": whose.value}
        page.gauge(
            "feedback_accuracy_least",
            "Accuracy over all answers, were every one without feedback wrong.",
            None if bounds is None else bounds[0],
            ends,
        )
        page.gauge(
            "feedback_accuracy_most",
            "Accuracy over all answers, were every one without feedback right.",
            None if bounds is None else bounds[1],
            ends,
        )
    counts = version.student.counts
    page.gauge(
        "feedback_accuracy_reweighted",
        "Accuracy of the student's answers, were feedback missing at random within each class. Descriptive.",
        reweighted(version.given, counts.hits, counts.given),
        labels,
    )


def _draw_shares(page: Page, version: VersionFeedback, labels: dict[str, str]) -> None:
    exposure = version.exposure
    for dimension in DIMENSIONS:
        by = labels | {"by": dimension.value}
        for cell in exposure.exchanges[dimension]:
            page.gauge(
                "feedback_share",
                "Share of answered exchanges with feedback so far, by who answered, band of confidence, or class.",
                exposure.share(dimension, cell),
                by | {"cell": cell},
            )
        found = exposure.found.get(dimension)
        page.gauge(
            "feedback_uneven",
            "1 where that share differs more than by chance, so that accuracy on feedback is not that of all answers.",
            None if found is None else found.uneven,
            by,
        )
        page.gauge(
            "feedback_mix_distance",
            "Total variation distance of exchanges with and without feedback, 0 to 1. Descriptive.",
            None if found is None else found.distance,
            by,
        )
