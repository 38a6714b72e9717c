"""Agreement by the student's confidence."""

from __future__ import annotations

from functools import partial

from monitoring.bands import NAMES
from monitoring.exposition import Page
from monitoring.metrics.intervals import draw_interval
from monitoring.reader import TaskReader
from monitoring.statistics.confidence import confidence_sequence
from monitoring.statistics.weights import WeightedMean


def draw_bands(page: Page, reader: TaskReader) -> None:
    """For each band of confidence, its comparisons and its agreement with an interval."""
    watched = reader.state.watched
    if watched is None:
        return
    for name, mean in zip(NAMES, watched.bands.means, strict=True):
        labels = {"band": name}
        page.gauge("band_comparisons", "Comparisons in which the champion was so sure.", mean.count, labels)
        page.keep(
            ("band_agreement", watched.version, name),
            mean.count,
            partial(_draw_band, mean=mean, error=reader.rules.interval_error, labels=labels),
        )


def _draw_band(page: Page, mean: WeightedMean, error: float, labels: dict[str, str]) -> None:
    interval = confidence_sequence(mean, error)
    draw_interval(
        page, "band_agreement", "agreement of the champion with the teacher, by its confidence", interval, labels
    )
