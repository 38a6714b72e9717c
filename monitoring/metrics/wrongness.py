"""Confident wrongness: of the answers that somebody was sure of, how many are wrong; and what waits for a person."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

from core.ledger import ReviewState, Right, Why
from monitoring.confident_wrongness import Judge, Who, wrong
from monitoring.exposition import Page
from monitoring.metrics.classes import age
from monitoring.metrics.detectors import draw_detector
from monitoring.metrics.intervals import draw_interval
from monitoring.reader import TaskReader
from monitoring.signals import WRONGNESS
from monitoring.statistics.weights import WeightedMean

_WHAT: Final = "share wrong, of the answers with at least this confidence: by whose they are and who judges"
_WHAT_CLASS: Final = (
    "share wrong, of a class's answers from watch.confident_alarm_from on: by whose they are and who judges"
)


def draw_wrongness(page: Page, reader: TaskReader) -> None:
    """The rates with their intervals, overall and by class; the detector; the queue."""
    for who in Who:
        for judge in Judge:
            _draw_rates(page, reader, who, judge)
    watched = reader.state.watched
    if watched is not None:
        draw_detector(page, WRONGNESS, watched.wrongness.detector.value, reader.rules.confident_limit)
    _draw_queue(page, reader)


def _draw_rates(page: Page, reader: TaskReader, who: Who, judge: Judge) -> None:
    rates = reader.reviews.rates(who, judge, reader.state)
    labels = {"who": who.value, "judge": judge.value}
    for level, mean in rates.levels.items():
        of_level = labels | {"confidence": f"{level:g}"}
        text = "Answers with at least this confidence that were judged: by whose they are and who judges."
        page.gauge("confident_answers", text, mean.count, of_level)
        _keep_rate(page, reader, "confident_wrong", _WHAT, mean, of_level)
    for label, mean in rates.classes.items():
        _keep_rate(page, reader, "confident_wrong_class", _WHAT_CLASS, mean, labels | {"class": label})


def _keep_rate(
    page: Page, reader: TaskReader, name: str, what: str, mean: WeightedMean, labels: dict[str, str]
) -> None:
    key = (name, reader.state.champion, *labels.values())
    error = reader.rules.interval_error
    page.keep(key, age(mean.count), partial(_draw_rate, name=name, what=what, mean=mean, error=error, labels=labels))


def _draw_rate(page: Page, name: str, what: str, mean: WeightedMean, error: float, labels: Mapping[str, str]) -> None:
    draw_interval(page, name, what, wrong(mean, error), labels)


def _draw_queue(page: Page, reader: TaskReader) -> None:
    counts = reader.reviews.counts
    for why in Why:
        for state in ReviewState:
            count = sum(number for (one, its_state, _), number in counts.items() if (one, its_state) == (why, state))
            labels = {"why": why.value, "state": state.value}
            page.gauge("reviews", "Answers for a person to judge, by why and by what became of them.", count, labels)
        for right in Right:
            count = counts.get((why, ReviewState.JUDGED, right), 0)
            text = "Verdicts of people, by why the answer was to be judged and by who was right."
            page.gauge("review_verdicts", text, count, {"why": why.value, "right": right.value})
