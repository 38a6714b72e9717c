"""What a person types as a verdict, and what it means. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from core.labels import LabelSet
from core.ledger import Review

Kind = Literal["label", "both", "skip", "note", "labels", "quit", "unclear"]

_WORDS: Final[dict[str, Kind]] = {"note": "note", "labels": "labels", "quit": "quit", "skip": "skip"}


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer. `label` is the verdict; of two that do equally well, one. `hint` says why it is unclear."""

    kind: Kind
    label: str = ""
    hint: str = ""


def read_answer(typed: str, review: Review, labels: LabelSet) -> Answer:
    """Read an answer: a label's name or number, or a word (or its first letter) of those that are offered.

    A label's exact name comes first, so that a class called `b` can be chosen. Nothing at all skips.
    """
    word = typed.strip()
    if word in labels:
        return Answer("label", word)
    lower = word.lower()
    for who, label in (("student", review.student), ("teacher", review.teacher)):
        if lower in (who, who[0]):
            return _one_of(label, who, labels)
    if lower in ("both", "b"):
        return _both(review, labels)
    for name, kind in _WORDS.items():
        if lower in (name, name[0]) and lower != "s":
            return Answer(kind)
    if not word:
        return Answer("skip")
    if word.isascii() and word.isdigit() and 1 <= int(word) <= len(labels):
        return Answer("label", labels.names[int(word) - 1])
    matched = labels.match(word)
    if matched is not None:
        return Answer("label", matched)
    near = labels.nearest(word)
    hint = f"did you mean {near!r}?" if near else "`labels` lists them"
    return Answer("unclear", hint=f"{word[:80]!r} is no label of {review.task}; {hint}")


def _one_of(label: str, who: str, labels: LabelSet) -> Answer:
    if not label:
        return Answer("unclear", hint=f"the {who} gave no label here")
    if label not in labels:
        return Answer("unclear", hint=f"the {who}'s label {label!r} is none of the task any more; name another")
    return Answer("label", label)


def _both(review: Review, labels: LabelSet) -> Answer:
    if not review.student or review.student == review.teacher:
        return Answer("unclear", hint="there is only one label here; name it, or another")
    known = next((label for label in (review.student, review.teacher) if label in labels), "")
    return Answer("both", known) if known else Answer("unclear", hint="neither label is one of the task any more")
