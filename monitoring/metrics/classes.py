"""Agreement of each class. With hundreds of classes this is most of the page, and most of the work."""

from __future__ import annotations

import math
from functools import partial

from monitoring.exposition import Page
from monitoring.metrics.intervals import draw_interval
from monitoring.reader import TaskReader
from monitoring.statistics.confidence import confidence_sequence
from monitoring.statistics.weights import WeightedMean

_GROWTH = math.log(1.01)


def draw_classes(page: Page, reader: TaskReader) -> None:
    """For each class that the champion answered, its comparisons and its agreement with an interval."""
    watched = reader.state.watched
    if watched is None:
        return
    for label, mean in watched.classes.items():
        page.gauge(
            "class_comparisons", "Comparisons in which the champion answered this class.", mean.count, {"class": label}
        )
        page.keep(
            ("class_agreement", watched.version, label),
            age(mean.count),
            partial(_draw_class, reader=reader, label=label, mean=mean),
        )


def _draw_class(page: Page, reader: TaskReader, label: str, mean: WeightedMean) -> None:
    interval = confidence_sequence(mean, reader.rules.interval_error)
    draw_interval(
        page,
        "class_agreement",
        "agreement of the champion's answers of a class with the teacher",
        interval,
        {"class": label},
    )


def age(count: int) -> int:
    """Changes with every comparison up to a hundred, then with every hundredth part: the interval is worked out then.

    It held when it was worked out, at all times, and so it does a hundredth later.
    """
    return count if count <= 100 else 100 + int(math.log(count / 100) / _GROWTH)
