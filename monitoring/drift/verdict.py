"""What came of a window: plain records."""

from __future__ import annotations

from typing import Final

import msgspec

LABELS: Final = "labels"
INPUTS: Final = "inputs"
TEMPLATES: Final = "templates"
NEW_CLASS: Final = "new_class"
PARTS: Final = (LABELS, INPUTS, TEMPLATES, NEW_CLASS)
"""The parts of a window's test."""

SIGNALS: Final = (
    "label_psi",
    "label_jensen_shannon",
    "confidence_wasserstein",
    "entropy_wasserstein",
    "length_wasserstein",
    "words_wasserstein",
    "non_letters_wasserstein",
    "oov_wasserstein",
    "embedding_mmd",
    "template_mismatch",
)
"""What is scored."""


class Score(msgspec.Struct, frozen=True):
    """A signal of a window, beside the threshold that belongs to a window and a reference of these sizes."""

    signal: str
    score: float
    threshold: float
    """What one window in a hundred passes without drift."""
    p_value: float
    """Of this signal alone, and no finer than a thousand permutations tell. What is called drift is said by `Part`."""


class Part(msgspec.Struct, frozen=True):
    """A part of a window's test: one p-value for its signals together, and the level that makes it drift."""

    name: str
    p_value: float
    level: float

    @property
    def is_drift(self) -> bool:
        """Whether this part of the window is called drift."""
        return self.p_value <= self.level


class ClassShare(msgspec.Struct, frozen=True):
    """How often a class comes: estimated, with an interval of 95 % by bootstrap. Descriptive."""

    label: str
    before: float
    """In the reference."""
    now: float
    lower: float
    upper: float


class Example(msgspec.Struct, frozen=True):
    """An exchange of a cluster."""

    exchange: str
    label: str
    confidence: float
    text: str = ""


class Cluster(msgspec.Struct, frozen=True):
    """Inputs that are alike, of which the student is unsure, and of which there are more than there were."""

    size: int
    """Of all exchanges that were looked at, so many lie in it."""
    exchanges: int
    before: int
    """How many of the reference's lay there, of `reference`."""
    reference: int
    p_value: float
    nearest: str
    """The known class that lies nearest; how alike its centre is (cosine), and how alike its own inputs usually are."""
    similarity: float
    usual_similarity: float
    examples: list[Example] = []


class Verdict(msgspec.Struct, frozen=True):
    """One window against the reference."""

    version: str
    began: float
    """When its first exchange was answered, in seconds since the epoch; `ended`: the last one."""
    ended: float
    exchanges: int
    """That came in this time, of which `rows` were compared, and `bursts` left out as near-duplicates."""
    rows: int
    bursts: int
    reference: int
    """Rows of the reference."""
    scores: list[Score]
    parts: list[Part]
    season: str
    """What the label mix was compared with."""
    confidence: tuple[float, float]
    """Mean of the calibrated confidence in the reference and now: an estimate of agreement that sees no changed
    concepts. Descriptive."""
    classes: list[ClassShare] = []
    clusters: list[Cluster] = []
    hours: dict[int, dict[str, int]] = {}
    """Labels by hours of the week, as `Season` learns them."""

    @property
    def drift(self) -> tuple[str, ...]:
        """The parts that are called drift; a suspected new class is not one of them."""
        return tuple(part.name for part in self.parts if part.is_drift and part.name != NEW_CLASS)

    def is_calm(self, above: float) -> bool:
        """Whether no part but a new class' has a p-value of `above` or less."""
        return all(part.p_value > above for part in self.parts if part.name != NEW_CLASS)

    @property
    def new_class(self) -> bool:
        """Whether a new class is suspected."""
        return any(part.is_drift for part in self.parts if part.name == NEW_CLASS)
