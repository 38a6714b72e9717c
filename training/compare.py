"""Two students on the same texts, compared overall, by part of the data, and by class. Pure functions.

The teacher's label counts as the truth. The candidate stands where it is shown to agree with the teacher no less often
than the champion, but for a margin (Tango's score test), and where in no part of the data and in no class it is shown
to be worse (McNemar's test, mid-p; over the classes at a false discovery rate). A class without the evidence to show
anything blocks nothing: what a student may answer there is decided by its trust, which such a class does not get.

Pairs are not weighted by how likely they were to be sampled: the tests are about the texts that are there, and exact
tests know no weights. What weighting would change is reported beside it (`Part.weighted`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from monitoring.statistics.classes import benjamini_hochberg
from training.paired import (
    difference_interval,
    midp_worse,
    not_inferior_p,
    smallest_visible_drop,
)

Gate = Literal["agreement", "part", "classes", "calibration", "golden", "latency", "size"]

_PART_ERROR: Final = 0.05
"""Chance of calling a candidate worse on one part where it is not."""
_INTERVAL_ERROR: Final = 0.1


@dataclass(frozen=True, slots=True)
class Pairs:
    """n texts that both students answered; all arrays have shape (n,)."""

    champion: NDArray[np.bool_]
    """Whether the champion agrees with the teacher."""
    candidate: NDArray[np.bool_]
    answers: NDArray[np.int64]
    """The teacher's labels, by position in the label set."""
    parts: Mapping[str, NDArray[np.bool_]]
    """Which texts belong to which part of the data, by the part's name."""
    probabilities: NDArray[np.float64]
    """With which each text was sampled from traffic; 1 for others."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What is asked of a candidate; see `core.settings.RetrainSettings`."""

    margin: float
    alpha: float
    """Of this candidate: what is left for it of the alarm's."""
    class_fdr: float
    max_latency_ms: float
    max_size_mb: float


class Part(msgspec.Struct, frozen=True):
    """Champion and candidate on some of the texts. Agreements are shares; `gains` and `losses` are the candidate's."""

    name: str
    texts: int
    champion: float
    candidate: float
    gains: int
    losses: int
    low: float
    """Ends of the interval (90 %) of the difference candidate - champion."""
    high: float
    worse_p: float
    """Mid-p value against "not worse": small where the candidate is worse."""
    weighted: float
    """The difference in traffic, each text weighing the inverse of its sampling probability (Hájek). Descriptive."""

    @property
    def difference(self) -> float:
        """Candidate's agreement minus the champion's."""
        return self.candidate - self.champion


class ClassResult(msgspec.Struct, frozen=True):
    """Champion and candidate on the texts that the teacher gives one label."""

    label: str
    texts: int
    champion: int
    """Texts on which the champion agrees."""
    candidate: int
    gains: int
    losses: int
    worse_p: float
    hurt: bool
    visible_drop: float | None
    """The smallest drop that so many texts would show four times in five; None: none at all."""


class Refusal(msgspec.Struct, frozen=True):
    """Why a candidate does not pass, for a person."""

    gate: Gate
    text: str


class PairedResult(msgspec.Struct, frozen=True):
    """Champion and candidate, paired."""

    overall: Part
    parts: list[Part]
    classes: list[ClassResult]
    margin: float
    alpha: float
    not_inferior_p: float
    refusals: list[Refusal]

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against the candidate."""
        return not self.refusals

    @property
    def hurt(self) -> list[str]:
        """The classes that it would hurt."""
        return [result.label for result in self.classes if result.hurt]


def compare(pairs: Pairs, labels: Sequence[str], limits: Limits) -> PairedResult:
    """Compare two students on the same texts: overall, by part, by class."""
    everything = np.ones(len(pairs.answers), dtype=bool)
    overall = _part("all", pairs, everything)
    parts = [_part(name, pairs, chosen) for name, chosen in pairs.parts.items()]
    classes = _classes(pairs, labels, limits.class_fdr)
    p = not_inferior_p(overall.gains, overall.losses, overall.texts, limits.margin)
    refusals = []
    if p > limits.alpha:
        refusals.append(Refusal("agreement", _not_shown(overall, limits, p)))
    refusals += [
        Refusal(
            "part",
            f"worse than the champion on {part.name}: {part.candidate:.1%} against {part.champion:.1%} of "
            f"{part.texts} texts (p = {part.worse_p:.4f})",
        )
        for part in parts
        if part.worse_p <= _PART_ERROR
    ]
    hurt = [result for result in classes if result.hurt]
    if hurt:
        named = ", ".join(f"{r.label} ({r.candidate} of {r.texts}, was {r.champion})" for r in hurt)
        refusals.append(Refusal("classes", f"it would hurt {len(hurt)} of {len(labels)} classes: {named}"))
    return PairedResult(overall, parts, classes, limits.margin, limits.alpha, p, refusals)


def _part(name: str, pairs: Pairs, chosen: NDArray[np.bool_]) -> Part:
    champion, candidate = pairs.champion[chosen], pairs.candidate[chosen]
    texts = len(champion)
    gains, losses = int((candidate & ~champion).sum()), int((champion & ~candidate).sum())
    low, high = difference_interval(gains, losses, texts, _INTERVAL_ERROR)
    weights = 1.0 / pairs.probabilities[chosen]
    change = candidate.astype(np.float64) - champion
    return Part(
        name=name,
        texts=texts,
        champion=float(champion.mean()) if texts else 0.0,
        candidate=float(candidate.mean()) if texts else 0.0,
        gains=gains,
        losses=losses,
        low=low,
        high=high,
        worse_p=midp_worse(gains, losses),
        weighted=float((weights * change).sum() / weights.sum()) if texts else 0.0,
    )


def _classes(pairs: Pairs, labels: Sequence[str], rate: float) -> list[ClassResult]:
    size = len(labels)

    def count(chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.bincount(pairs.answers[chosen], minlength=size)

    texts = np.bincount(pairs.answers, minlength=size)
    champion, candidate = count(pairs.champion), count(pairs.candidate)
    gains, losses = count(pairs.candidate & ~pairs.champion), count(pairs.champion & ~pairs.candidate)
    p_values = [midp_worse(int(g), int(lost)) for g, lost in zip(gains, losses, strict=True)]
    # A class that could not be rejected even if all its texts went wrong is no test (Tarone, Biometrics 46, 1990).
    tested = [i for i in range(size) if 0.5 ** (int(texts[i]) + 1) <= rate]
    rejected = dict(zip(tested, benjamini_hochberg([p_values[i] for i in tested], rate), strict=True))
    changes = min(int(gains.sum()), int(losses.sum()))  # what changes places without any drop
    discordance = 2 * changes / max(len(pairs.answers), 1)
    return [
        ClassResult(
            label=label,
            texts=int(texts[i]),
            champion=int(champion[i]),
            candidate=int(candidate[i]),
            gains=int(gains[i]),
            losses=int(losses[i]),
            worse_p=p_values[i],
            hurt=rejected.get(i, False),
            visible_drop=smallest_visible_drop(int(texts[i]), discordance, rate),
        )
        for i, label in enumerate(labels)
    ]


def _not_shown(overall: Part, limits: Limits, p: float) -> str:
    if not overall.texts:
        return "there is no held-out text on which both can be compared"
    return (
        f"not shown to be within {limits.margin:.1%} of the champion: {overall.candidate:.1%} against "
        f"{overall.champion:.1%} of {overall.texts} texts, difference {overall.difference:+.1%} "
        f"({overall.low:+.1%} to {overall.high:+.1%}; p = {p:.4f}, must be at most {limits.alpha:.4f})"
    )
