"""Small students for tests: an `ngram` model whose weights are written down instead of learnt.

Each label has a few cue words; a text is answered with the label whose cues it holds. Without a cue every label is as
likely as the others, so confidence is low.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from core.labels import LabelSet
from core.models.folder import Card, write_folder
from core.models.ngram import NgramClassifier, NgramConfig

CUES = {
    "order_status": ("where", "tracking"),
    "refund_status": ("refund", "money"),
    "praise": ("thanks", "great"),
}
LABELS = tuple(CUES)


def build_model(cues: Mapping[str, Sequence[str]] = CUES, *, strength: float = 60.0) -> NgramClassifier:
    """A model that answers with the label of whose cue words the text holds most."""
    labels = tuple(cues)
    config = NgramConfig(labels=labels, dim=len(labels), orders=(), pairs=False)
    state = {name: np.zeros_like(array) for name, array in NgramClassifier.initial(config, 0).state().items()}
    features = NgramClassifier.from_state(config, state).features
    for column, words in enumerate(cues.values()):
        for word in words:
            indices, _, _ = features.encode([word])
            state["embedding"][indices, column] = 1.0
    state["head"] = np.eye(len(labels), dtype=np.float32) * np.float32(strength)
    return NgramClassifier.from_state(config, state)


def write_student(folder: Path, task: str = "desk", cues: Mapping[str, Sequence[str]] = CUES) -> Path:
    """Write such a model, with its card, as a student's folder."""
    model = build_model(cues)
    labels = LabelSet(cues)
    card = Card(task=task, architecture="ngram", labels=list(labels.names), label_set=labels.version)
    return write_folder(folder, model, card)
