"""How good answers are where the truth is known: accuracy, and precision, recall and F1 of each class.

Accuracy, precision and recall are bounded means (of all answers; of those with a label; of those that should have had
it), so each has a confidence sequence: `as_mean` says how to ask for it. F1 mixes two of them and has none; it is
descriptive. What holds, holds of answers of which the truth became known, and for each number by itself.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from monitoring.statistics.weights import WeightedMean

PAIRS: Final = 500


class Pair(NamedTuple):
    """A confusion: so often was `given` said where `truth` was right."""

    truth: str
    given: str
    times: int


class Classification(msgspec.Struct):
    """Counts of answers beside the truth. O(1) for each; bounded by the number of classes.

    Of the confusions 500 different ones are counted, the most frequent ones surely (Misra and Gries, Science of
    Computer Programming 2, 1982): each count is too low by `cut` at most, which stays 0 as long as there are no more.
    """

    total: int = 0
    correct: int = 0
    given: dict[str, int] = {}
    """Answers by their label; `truth`: by the right label; `hits`: those that were right."""
    truth: dict[str, int] = {}
    hits: dict[str, int] = {}
    pairs: dict[tuple[str, str], int] = {}
    """By (right label, label given), where they differ."""
    cut: int = 0

    def add(self, truth: str, given: str) -> None:
        """Count one answer."""
        self._move(truth, given, 1)
        if truth != given:
            self._confuse(truth, given)

    def take_back(self, truth: str, given: str) -> None:
        """Undo `add` of the same: the truth was corrected."""
        self._move(truth, given, -1)
        left = self.pairs.get((truth, given), 0) - 1
        if left > 0:
            self.pairs[truth, given] = left
        else:
            self.pairs.pop((truth, given), None)

    @property
    def accuracy(self) -> float | None:
        """Share of right answers; None without any."""
        return self.correct / self.total if self.total else None

    def precision(self, label: str) -> float | None:
        """Of the answers with this label, the share that is right; None without any."""
        return _share(self.hits.get(label, 0), self.given.get(label, 0))

    def recall(self, label: str) -> float | None:
        """Of what should have had this label, the share that got it; None without any."""
        return _share(self.hits.get(label, 0), self.truth.get(label, 0))

    def f1(self, label: str) -> float | None:
        """Harmonic mean of precision and recall, 2 hits / (given + truth); None where the label does not occur."""
        return _share(2 * self.hits.get(label, 0), self.given.get(label, 0) + self.truth.get(label, 0))

    @property
    def macro_f1(self) -> float | None:
        """Mean of F1 over the classes that occur, given or right; None without answers."""
        values = [value for label in self.labels if (value := self.f1(label)) is not None]
        return sum(values) / len(values) if values else None

    @property
    def labels(self) -> list[str]:
        """The classes that occur, given or right, sorted."""
        return sorted({label for counts in (self.given, self.truth) for label, count in counts.items() if count})

    def worst_pairs(self, most: int = 10) -> list[Pair]:
        """The most frequent confusions, the worst first."""
        ordered = sorted(self.pairs.items(), key=lambda item: (-item[1], item[0]))
        return [Pair(truth, given, count) for (truth, given), count in ordered[:most]]

    def _move(self, truth: str, given: str, by: int) -> None:
        self.total += by
        self.given[given] = self.given.get(given, 0) + by
        self.truth[truth] = self.truth.get(truth, 0) + by
        if truth == given:
            self.correct += by
            self.hits[given] = self.hits.get(given, 0) + by

    def _confuse(self, truth: str, given: str) -> None:
        pair = (truth, given)
        if pair in self.pairs or len(self.pairs) < PAIRS:
            self.pairs[pair] = self.pairs.get(pair, 0) + 1
            return
        self.cut += 1
        self.pairs = {known: count - 1 for known, count in self.pairs.items() if count > 1}


def as_mean(right: int, total: int) -> WeightedMean:
    """`right` of `total` as a mean of full weights, for `monitoring.statistics.confidence.confidence_sequence`."""
    buckets = {0: (float(right), float(total - right))} if total else {}
    return WeightedMean(total, float(total), float(right), float(total), buckets)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
