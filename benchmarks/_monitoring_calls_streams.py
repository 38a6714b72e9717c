"""Streams of exchanges drawn from messages, and the product's two ways through one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks._monitoring_pairs import Pairs
from core.records import Answerer, Comparison, Exchange, Outcome, Reason, StudentAnswer
from monitoring.predicted_agreement import PredictedAgreement
from monitoring.statistics.confidence import confidence_sequence
from monitoring.statistics.prediction import PredictedMean
from monitoring.statistics.prediction_interval import predicted_sequence
from monitoring.statistics.weights import Scale, WeightedMean

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

ALPHA: Final = 0.05


@dataclass(frozen=True, slots=True)
class Draws:
    """A stream: arrays of shape (exchanges,)."""

    confidence: Floats
    agrees: Bools
    probability: Floats
    drawn: Bools

    def x(self) -> Floats:
        """Of every exchange, its part in the estimate with the confidence as prediction."""
        return self.confidence + self.drawn / self.probability * (self.agrees - self.confidence)


def draw(pairs: Pairs, chances: Floats, exchanges: int, seed: int) -> Draws:
    """One stream."""
    rng = np.random.default_rng((7, seed))
    chosen = rng.integers(0, len(chances), exchanges)
    probability = chances[chosen]
    drawn = rng.random(exchanges) < probability
    return Draws(pairs.confidence[chosen], pairs.agrees[chosen], probability, drawn)


class Predicted:
    """The product's own way through a stream."""

    def __init__(self, stream: Draws) -> None:
        self._state = PredictedAgreement(lowest=[float(stream.probability.min())])
        columns = (stream.confidence, stream.agrees, stream.probability, stream.drawn)
        self._rows = list(zip(*(column.tolist() for column in columns), strict=True))
        self._at = 0

    @property
    def mean(self) -> PredictedMean:
        """All that counts so far."""
        return self._state.whole

    def take(self, until: int) -> None:
        """Go on to the exchange `until`."""
        for at in range(self._at, until):
            confidence, agrees, probability, drawn = self._rows[at]
            student, name, time = StudentAnswer("1", "a", confidence, ""), str(at), at * 0.01
            self._state.see(
                Exchange(
                    name,
                    "",
                    time,
                    Answerer.STUDENT,
                    Reason.CHAMPION,
                    200,
                    student=student,
                    shadow_probability=probability,
                    shadow=drawn,
                )
            )
            if drawn:
                label = "a" if agrees else "b"
                self._state.compare(
                    Comparison(
                        "",
                        "",
                        name,
                        time,
                        time,
                        Outcome.ANSWERED,
                        probability,
                        Answerer.STUDENT,
                        student,
                        teacher_label=label,
                    )
                )
        self._at = until

    def width(self) -> float:
        """Of the interval now; 1 where nothing is known."""
        interval = predicted_sequence(self.mean, ALPHA)
        return 1.0 if interval is None else interval.upper - interval.lower


class Plain:
    """Comparisons alone, weighted."""

    def __init__(self, stream: Draws) -> None:
        self._stream = stream
        self._scale = Scale(float(stream.probability.min()))
        self._mean = WeightedMean()
        self._at = 0

    def take(self, until: int) -> None:
        """Go on to the exchange `until`."""
        for at in np.flatnonzero(self._stream.drawn[self._at : until]) + self._at:
            weight = self._scale.weigh(float(self._stream.probability[at]))
            self._mean.add(bool(self._stream.agrees[at]), weight)
        self._at = until

    def width(self) -> float:
        """Of the interval now; 1 where nothing is known."""
        interval = confidence_sequence(self._mean, ALPHA)
        return 1.0 if interval is None else interval.upper - interval.lower
