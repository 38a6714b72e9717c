"""Windows of exchanges for drift: the first of a version is the reference and is frozen, the others are compared."""

from __future__ import annotations

import msgspec


class Features(msgspec.Struct, frozen=True, array_like=True):
    """What is compared of an exchange: the student's label, its confidence, and the text's length where kept."""

    label: str
    confidence: float
    length: int | None


class Score(msgspec.Struct, frozen=True):
    """A signal of a window, beside the threshold that belongs to windows and references of these sizes."""

    signal: str
    score: float
    threshold: float
    p_value: float


class DriftWindows(msgspec.Struct):
    """The reference, the window that is being filled, and what became of those before. Bounded by the window's size.

    The reference holds twice as many exchanges as a window.
    """

    version: str = ""
    reference: list[Features] = []
    current: list[Features] = []
    full: list[Features] = []
    """A window that waits to be compared."""
    scores: list[Score] = []
    """Of the last window that was compared."""
    drifted: int = 0
    """Windows in a row that were called drift; `calm`: that were not."""
    calm: int = 0
    skipped: int = 0
    """Windows that were full while the one before still waited."""

    def add(self, version: str, features: Features, size: int) -> None:
        """Take one exchange of the champion `version`."""
        if version != self.version:
            self.version, self.reference, self.current, self.full = version, [], [], []
            self.scores, self.drifted, self.calm = [], 0, 0
        if len(self.reference) < 2 * size:
            self.reference.append(features)
            return
        self.current.append(features)
        if len(self.current) >= size:
            self.skipped += bool(self.full)
            self.full, self.current = self.current, []

    def note(self, scores: list[Score], alpha: float) -> None:
        """Take what came of a window. It is drift where any signal is, at `alpha` over all of them."""
        self.scores = scores
        if any(score.p_value <= alpha / len(scores) for score in scores):
            self.drifted, self.calm = self.drifted + 1, 0
        else:
            self.drifted, self.calm = 0, self.calm + 1
