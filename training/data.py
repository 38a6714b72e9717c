"""The data set of a run: what the teacher said of recent and of older traffic, its earlier labels, and gold.

Weights. Every example counts 1, those of recent traffic `retrain.recent_weight`. The inverse of the probability with
which a comparison was drawn is *not* a training weight: it makes a mean over the sample a mean over traffic, which is
what an estimate wants. A student is not a mean. The unsure exchanges were drawn more often since they teach most;
weighing them down again would undo that, let a few examples of weight 20 make the gradient's noise, and change the
decision of a model that fits its data hardly at all (Byrd and Lipton, 1812.03372). The probability is kept beside each
example, and the report uses it where it belongs.

Parts. A text goes where the hash of its near-duplicate cluster with the run's id sends it, so each run has a fresh
hold-out and near-duplicates never stand on both sides. The exception: what the champion was taught (`training.taught`)
is never held out but taught again. On what it knows by heart no candidate could stand beside the champion, and a
candidate that is denied a part of the champion's data would be worse for that alone. So hold-out are texts that neither
has seen. A redacted text is not held out either, since the teacher has answered another one: it teaches, and judges
nobody. Of a cluster the gates take one text, since tests count independent texts, and a burst of copies is one.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import msgspec

from core.clusters import cluster_key
from core.settings import RetrainSettings
from training.distil import Parts
from training.examples import Example, examples_digest
from training.splits import Fractions, split
from training.taught import cluster_hash
from training.traffic import Sample, Unanswered

_CALIBRATION = 0.12
"""Share that calibrates. It is also evidence for trust, so it is more than a temperature alone would need."""


@dataclass(frozen=True, slots=True)
class Taught:
    """What the champion was taught. `clusters` None: nobody knows; what came later than `until` it cannot have been."""

    clusters: frozenset[bytes] | None
    until: float

    def knows(self, sample: Sample) -> bool:
        """Whether the champion may have been taught this text."""
        if self.clusters is None:
            return sample.at <= self.until
        return cluster_hash(sample.example.text) in self.clusters


def choose_unanswered(
    unanswered: Sequence[Unanswered],
    *,
    classes: Collection[str],
    known: Collection[str],
    budget: int,
    salt: str,
) -> list[Unanswered]:
    """Which recent texts the teacher shall label: at most `budget`, one a cluster, by the hash of `salt` and the text.

    Those that the student puts into one of `classes`; of all where none is named. Clusters of the texts `known` are
    left out: the teacher's answer to them is there.
    """
    seen = {cluster_key(text) for text in known}
    chosen: dict[str, Unanswered] = {}
    for candidate in unanswered:
        key = cluster_key(candidate.text)
        if key not in seen and (not classes or candidate.student_label in classes):
            chosen.setdefault(key, candidate)
    shuffled = sorted(chosen.items(), key=lambda item: hashlib.sha256(f"{salt}:{item[0]}".encode()).digest())
    return [candidate for _, candidate in shuffled[:budget]]


def assemble(
    samples: Sequence[Sample],
    settings: RetrainSettings,
    taught: Taught,
    *,
    recent_since: float,
    kept_apart: Collection[str],
    salt: str,
) -> list[Sample]:
    """Weigh, de-duplicate and split. `samples`: of several with one text the first counts, so put the newest first.

    Near-duplicates of the texts `kept_apart` are left out: they are kept for evaluation.
    """
    apart = {cluster_key(text) for text in kept_apart}
    unique = [s for s in _deduplicated(samples) if cluster_key(s.example.text) not in apart]
    fractions = Fractions(min(_CALIBRATION, (1 - settings.holdout) / 2), settings.holdout)
    places = split([sample.example.text for sample in unique], salt=salt, fractions=fractions)
    part = dict.fromkeys(places.calibration, "calibration") | dict.fromkeys(places.holdout, "holdout")
    known = {cluster_key(sample.example.text) for sample in unique if taught.knows(sample)}
    redacted = {cluster_key(sample.example.text) for sample in unique if sample.redacted}
    judged: set[str] = set()
    finished = []
    for position, sample in enumerate(unique):
        key = cluster_key(sample.example.text)
        recent = sample.at >= recent_since > 0
        weight = sample.example.weight * (settings.recent_weight if recent else 1.0)
        where = part.get(position, "train")
        if (where == "holdout" and key in known) or key in redacted:
            where = "train"
        gate = where == "holdout" and sample.example.teacher is not None and key not in judged
        if gate:
            judged.add(key)
        finished.append(
            msgspec.structs.replace(
                sample,
                example=msgspec.structs.replace(sample.example, weight=weight),
                recent=recent,
                part=where,
                gate=gate,
            )
        )
    return finished


def parts_of(samples: Sequence[Sample]) -> Parts:
    """The examples by what they are for."""
    train, calibration, holdout = (
        [sample.example for sample in samples if sample.part == part] for part in ("train", "calibration", "holdout")
    )
    return Parts(train, calibration, holdout)


def counts_by_source(samples: Sequence[Sample]) -> dict[str, int]:
    """How many examples come from where, by source; recent traffic apart."""
    return dict(sorted(Counter(f"{s.example.source}{', recent' if s.recent else ''}" for s in samples).items()))


def digest(samples: Sequence[Sample]) -> str:
    """SHA-256 of the examples: the same data has the same digest."""
    return examples_digest([sample.example for sample in samples])


def _deduplicated(samples: Sequence[Sample]) -> list[Sample]:
    """One sample a text (blanks and case aside), the first; a gold label that it lacks is taken from a later one."""
    kept: dict[str, Sample] = {}
    for sample in samples:
        key = " ".join(sample.example.text.split()).casefold()
        first = kept.setdefault(key, sample)
        kept[key] = msgspec.structs.replace(first, example=_completed(first.example, sample.example))
    return list(kept.values())


def _completed(first: Example, other: Example) -> Example:
    if first.label is None and other.label is not None:
        first = msgspec.structs.replace(first, label=other.label)
    if first.teacher is None and other.teacher is not None:
        first = msgspec.structs.replace(
            first, teacher=other.teacher, distribution=other.distribution, method=other.method
        )
    return first
