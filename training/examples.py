"""One labelled example as a record, and the file that holds them: JSONL, one example a line."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from core.errors import DataError
from core.labels import LabelSet
from core.teacher import TeacherAnswer
from training.whole import write_whole

VOTE_SMOOTHING = 0.1
"""Mass that a hard answer leaves to the other labels: a bare answer is evidence, not certainty (arXiv 1512.00567,
section 7)."""

_NEGLIGIBLE = 1e-6


class Example(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A text, what is known to be true of it, and what the teacher said of it.

    `label` is the gold label, `teacher` the teacher's; either may be missing. `distribution` maps label to probability
    and need not sum to one; `method` says how it was obtained (see `core.teacher.TeacherAnswer`), `gold` where no
    teacher was asked. `weight` is how much the example counts in training.
    """

    text: str
    label: str | None = None
    teacher: str | None = None
    distribution: dict[str, float] = {}
    method: Literal["distribution", "logprobs", "vote", "gold"] = "gold"
    source: str = ""
    weight: float = 1.0

    @property
    def answer(self) -> str:
        """The label that the student is held to: the teacher's, or the gold one where no teacher was asked."""
        return self.teacher or self.label or ""


def from_answer(text: str, answer: TeacherAnswer, *, label: str | None = None, source: str = "") -> Example:
    """The example that a teacher's readable answer makes."""
    spread = {name: float(f"{p:.5g}") for name, p in answer.distribution.items() if p >= _NEGLIGIBLE}
    return Example(text, label, answer.label, spread, answer.method, source)


def write_examples(path: Path, examples: Iterable[msgspec.Struct]) -> None:
    """Write records, one a line, as a whole or not at all. Raises DataError where the folder cannot be written."""
    encoder = msgspec.json.Encoder()
    write_whole(path, (encoder.encode(example) + b"\n" for example in examples))


def read_examples(path: Path, labels: LabelSet) -> list[Example]:
    """Read what `write_examples` wrote, or a person by hand.

    Raises DataError naming the file and the row where a row is broken, has no label at all, or has one that the task
    does not know.
    """
    decoder = msgspec.json.Decoder(Example)
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; `tutelage label` writes it") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    examples = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            example = decoder.decode(line)
        except msgspec.DecodeError as error:
            raise DataError(f"{path}, row {number}: is not a labelled example ({error})") from error
        _check(path, number, example, labels)
        examples.append(example)
    return examples


def deduplicate(examples: Sequence[Example]) -> list[Example]:
    """Keep one example for each text (blanks and case aside), in order of first appearance.

    Of several the first one counts; a gold label or a teacher's answer that it lacks is taken from the later ones.
    """
    kept: dict[str, Example] = {}
    for example in examples:
        key = " ".join(example.text.split()).casefold()
        first = kept.setdefault(key, example)
        if first.label is None and example.label is not None:
            first = msgspec.structs.replace(first, label=example.label)
        if first.teacher is None and example.teacher is not None:
            first = msgspec.structs.replace(
                first, teacher=example.teacher, distribution=example.distribution, method=example.method
            )
        kept[key] = first
    return list(kept.values())


def target_distributions(examples: Sequence[Example], labels: LabelSet) -> NDArray[np.float32]:
    """Return what the student is to match, shape (n, k), rows summing to one.

    A distribution is taken as it is; mass that it does not show (an API names the likeliest labels only) is spread
    evenly over the labels that it does not name. A bare answer becomes a smoothed one-hot row.
    """
    targets = np.zeros((len(examples), len(labels)), dtype=np.float64)
    for row, example in zip(targets, examples, strict=True):
        if not example.distribution:
            row[:] = VOTE_SMOOTHING / len(labels)
            row[labels.index[example.answer]] += 1.0 - VOTE_SMOOTHING
            continue
        named = [labels.index[name] for name in example.distribution]
        row[named] = list(example.distribution.values())
        if len(named) < len(labels):
            unnamed = np.ones(len(labels), dtype=bool)
            unnamed[named] = False
            row[unnamed] = max(0.0, 1.0 - row.sum()) / unnamed.sum()
    targets /= targets.sum(axis=1, keepdims=True)
    return targets.astype(np.float32)


def hard_labels(examples: Sequence[Example], labels: LabelSet) -> NDArray[np.int64]:
    """Return the position of the label that each example is held to, shape (n,)."""
    return np.array([labels.index[example.answer] for example in examples], dtype=np.int64)


def gold_labels(examples: Sequence[Example], labels: LabelSet) -> NDArray[np.int64]:
    """Return the position of each gold label, -1 where there is none, shape (n,)."""
    return np.array([-1 if e.label is None else labels.index[e.label] for e in examples], dtype=np.int64)


def examples_digest(examples: Iterable[Example]) -> str:
    """SHA-256 over the examples, whatever their order: the same data has the same digest."""
    return hashlib.sha256(b"\n".join(sorted(msgspec.json.encode(example) for example in examples))).hexdigest()


def _check(path: Path, number: int, example: Example, labels: LabelSet) -> None:
    if not example.text.strip():
        raise DataError(f"{path}, row {number}: the text is empty")
    if not example.answer:
        raise DataError(f"{path}, row {number}: has neither a gold label nor a teacher's; run `tutelage label`")
    if example.weight <= 0:
        raise DataError(f"{path}, row {number}: the weight must be positive; leave the row out instead")
    for name in (example.label, example.teacher, *example.distribution):
        if name is not None and name not in labels:
            near = labels.nearest(name)
            hint = f"did you mean {near!r}?" if near else "label anew, or add it under `labels`"
            raise DataError(f"{path}, row {number}: the task has no label {name!r}; {hint}")
    if example.distribution and not sum(example.distribution.values()) > 0:
        raise DataError(f"{path}, row {number}: the distribution holds no probability")
