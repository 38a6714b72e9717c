"""The monitor's metrics. Label sets are closed: tasks and classes of the settings, champions, enumerations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core.records import Answerer, Outcome
from monitoring.agreement import Agreement
from monitoring.exposition import Exposition
from monitoring.reader import TaskReader
from monitoring.signals import CLASSES, SIGNALS, STUDENT
from monitoring.statistics.confidence import Interval, confidence_sequence
from monitoring.statistics.weights import WeightedMean
from monitoring.version import VersionState

_PREFIX = "tutelage_monitor_"


class Metrics:
    """Draws up the text that Prometheus scrapes; keeps the intervals of classes that have not moved."""

    def __init__(self, readers: Sequence[TaskReader]) -> None:
        self._readers = readers
        self._intervals: dict[tuple[str, str, str], tuple[int, Interval | None]] = {}
        self.text = b""
        """As of the last `draw`."""

    def draw(self) -> None:
        """Draw up the text from the readers' states."""
        page = Exposition()
        for reader in self._readers:
            _task(page, reader)
            watched = reader.state.watched
            if watched is not None:
                _version(page, reader, watched)
                self._classes(page, reader, watched)
        self.text = page.render()

    def _classes(self, page: Exposition, reader: TaskReader, watched: VersionState) -> None:
        for label, mean in watched.classes.items():
            interval = self._interval(reader, watched.version, label, mean)
            labels = {"task": reader.task, "class": label}
            page.gauge(
                _PREFIX + "class_comparisons",
                "Comparisons in which the champion answered this class.",
                mean.count,
                labels,
            )
            _interval(
                page, "class_agreement", "of the champion's answers of a class with the teacher", interval, labels
            )

    def _interval(self, reader: TaskReader, version: str, label: str, mean: WeightedMean) -> Interval | None:
        key = (reader.task, version, label)
        known = self._intervals.get(key)
        if known is None or known[0] != mean.count:
            known = (mean.count, confidence_sequence(mean, reader.rules.interval_error))
            self._intervals[key] = known
            for other in [other for other in self._intervals if other[0] == reader.task and other[1] != version]:
                del self._intervals[other]
        return known[1]


def _task(page: Exposition, reader: TaskReader) -> None:
    task, state = {"task": reader.task}, reader.state
    page.gauge(_PREFIX + "leading", "1 where this process watches the task.", reader.leading, task)
    for answerer in Answerer:
        page.counter(
            _PREFIX + "exchanges_total",
            "Exchanges read, by who answered.",
            state.exchanges.get(answerer.value, 0),
            task | {"answered_by": answerer.value},
        )
    page.gauge(
        _PREFIX + "teacher_share",
        "Share of the last 1000 to 2000 exchanges that the teacher answered.",
        state.traffic.teacher_share(),
        task,
    )
    counters = {
        "duplicates_total": ("Comparisons left out: the exchange had been compared already.", state.duplicates),
        "replayed_total": ("Records left out: they had been read before.", reader.replayed),
        "unreadable_total": ("Records that could not be decoded.", reader.unreadable),
        "conflicts_total": ("Snapshots not stored: another monitor had stored one.", reader.conflicts),
    }
    for name, (text, value) in counters.items():
        page.counter(_PREFIX + name, text, value, task)
    for cause in SIGNALS:
        page.gauge(
            _PREFIX + "open_alarms", "Open alarms, by cause.", cause in reader.open_alarms, task | {"cause": cause}
        )
    times = {
        "last_exchange_timestamp_seconds": ("When the newest exchange was answered.", state.last_exchange),
        "last_comparison_timestamp_seconds": ("When the newest comparison was made.", state.last_comparison),
        "snapshot_timestamp_seconds": ("When the statistics were last stored by this process.", reader.stored_at),
    }
    for name, (text, at) in times.items():
        page.gauge(_PREFIX + name, text, at or None, task)
    for score in state.drift.scores:
        labels = task | {"signal": score.signal}
        page.gauge(_PREFIX + "drift_score", "Drift of the last window against the reference.", score.score, labels)
        page.gauge(
            _PREFIX + "drift_threshold", "What that score passes by chance only rarely.", score.threshold, labels
        )


def _version(page: Exposition, reader: TaskReader, watched: VersionState) -> None:
    task = {"task": reader.task}
    labels = task | {"version": watched.version}
    _estimand(page, reader, watched.student, labels | {"estimand": "student"})
    _estimand(page, reader, watched.served, labels | {"estimand": "served"})
    for outcome in Outcome:
        page.gauge(
            _PREFIX + "comparisons",
            "Comparisons of the champion, by outcome.",
            watched.outcomes.get(outcome.value, 0),
            labels | {"outcome": outcome.value},
        )
    page.gauge(_PREFIX + "bursts", "Comparisons of near-duplicates that did not count.", watched.bursts, labels)
    page.gauge(
        _PREFIX + "awaited_comparisons",
        "Exchanges drawn for comparison of which nothing has come yet.",
        watched.drawn - watched.arrived,
        labels,
    )
    page.gauge(
        _PREFIX + "cut_weights", "Weights cut since the sampling probability fell suddenly.", watched.scale.cut, labels
    )
    page.gauge(
        _PREFIX + "baseline", "Student agreement below which a drop is looked for.", watched.baseline.overall, labels
    )
    highest = max((detector.value for detector in watched.class_detectors.values()), default=0.0)
    for signal, value in ((STUDENT, watched.detector.value), (CLASSES, highest)):
        text = "Evidence that agreement fell below its baseline; of classes, the highest. An alarm at the limit."
        page.gauge(_PREFIX + "detector", text, value, task | {"signal": signal})
        page.gauge(_PREFIX + "detector_limit", "The detector's limit.", reader.rules.limit, task | {"signal": signal})
    descriptive: Mapping[str, tuple[str, float | None]] = {
        "ece": ("Expected calibration error, ten bins of equal width. Descriptive.", watched.calibration.ece),
        "brier": ("Brier score of the confidence. Descriptive.", watched.calibration.brier),
        "nll": ("Mean negative log-likelihood of the teacher's label, in nats. Descriptive.", watched.calibration.nll),
    }
    for name, (text, number) in descriptive.items():
        page.gauge(_PREFIX + name, text, number, labels)


def _estimand(page: Exposition, reader: TaskReader, agreement: Agreement, labels: dict[str, str]) -> None:
    for span, mean in (("version", agreement.whole), ("recent", agreement.recent)):
        interval = confidence_sequence(mean, reader.rules.interval_error)
        _interval(page, "agreement", "with the teacher, by estimand and span", interval, labels | {"span": span})


def _interval(page: Exposition, name: str, what: str, interval: Interval | None, labels: Mapping[str, str]) -> None:
    """Estimate and limits of a confidence sequence; NaN where nothing is known."""
    lower, estimate, upper = (None,) * 3 if interval is None else (interval.lower, interval.estimate, interval.upper)
    page.gauge(_PREFIX + name, f"Agreement {what}.", estimate, labels)
    page.gauge(_PREFIX + name + "_lower", f"Lower limit, valid at all times, of the agreement {what}.", lower, labels)
    page.gauge(_PREFIX + name + "_upper", f"Upper limit, valid at all times, of the agreement {what}.", upper, labels)
