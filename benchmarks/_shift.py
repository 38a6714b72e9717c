"""Real data with a shift in it: some of the intents are there from the beginning, the others come later.

Every intent's messages are shuffled by a seed and dealt out: labelled ones for the teacher, prompts for the first
student (of the early intents alone), messages of the first wave (likewise), of the second wave, in which every intent
comes, and fresh ones, which are sent once the second wave has been learnt from. No message is in two of these, but for
the early intents': those of the first wave come again in the second.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Final

from benchmarks._traffic import Message
from core.data_files import read_rows

_OUT_OF_SCOPE: Final = "out_of_scope"
_QUICK_INTENTS: Final = 8
_LABELLED, _PROMPTS, _FIRST, _FRESH = 0.2, 0.25, 0.15, 0.2
"""Shares of an intent's messages. The rest is the second wave's, and a late intent's prompts and first wave are too."""


@dataclass(slots=True)
class Shift:
    """A task's messages, dealt out."""

    title: str
    labels: list[str]
    early: set[str]
    """The intents that are there from the beginning."""
    labelled: list[Message] = field(default_factory=list)
    """The teacher's examples, of all intents."""
    prompts: list[Message] = field(default_factory=list)
    """The first student's, of the early intents."""
    first: list[Message] = field(default_factory=list)
    second: list[Message] = field(default_factory=list)
    fresh: list[Message] = field(default_factory=list)

    @property
    def unchanged(self) -> list[Message]:
        """Fresh messages of the early intents: what would go on to come without any shift."""
        return [message for message in self.fresh if message.label in self.early]


def read_shift(folder: Path, *, seed: int, quick: bool) -> Shift:
    """Read a data set by what lies in its folder.

    With `domains.json` and `out_of_scope.csv` (CLINC150), the first half of the domains is early, and sentences that
    belong nowhere come with the others. Otherwise (Banking77) a random half of the intents is early. `quick` keeps a
    fixed few of the intents.
    """
    rng = random.Random(seed)
    messages = _by_intent(folder, rng)
    if (folder / "domains.json").is_file():
        domains: Mapping[str, list[str]] = json.loads((folder / "domains.json").read_text(encoding="utf-8"))
        names = list(domains)
        early = {intent for name in names[: len(names) // 2] for intent in domains[name]}
        if quick:
            early, late = _few(domains, names[:2]), _few(domains, names[-2:])
            messages = {intent: found for intent, found in messages.items() if intent in early | late}
    else:
        intents = rng.sample(sorted(messages), len(messages))
        intents = intents[:_QUICK_INTENTS] if quick else intents
        messages = {intent: messages[intent] for intent in sorted(intents)}
        early = set(intents[: len(intents) // 2])
    shift = Shift(folder.name, sorted(messages), early)
    for intent in shift.labels:
        _deal(shift, intent, messages[intent])
    if (folder / "out_of_scope.csv").is_file():
        _deal_out_of_scope(shift, folder, rng, 0.2 if quick else 1.0)
    return shift


def _by_intent(folder: Path, rng: random.Random) -> dict[str, list[Message]]:
    """Different messages of each intent, shuffled. The published parts are put together: they are not equally hard."""
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for name in ("train.csv", "val.csv", "test.csv"):
        if (folder / name).is_file():
            for row in read_rows(folder / name, label_column="category"):
                found[row.label or ""].setdefault(row.text)
    return {
        intent: [Message(text, intent) for text in rng.sample(list(texts), len(texts))]
        for intent, texts in sorted(found.items())
    }


def _few(domains: Mapping[str, list[str]], names: Collection[str]) -> set[str]:
    """Some intents of these domains."""
    return {intent for name in names for intent in domains[name][: _QUICK_INTENTS // 4]}


def _deal(shift: Shift, intent: str, messages: Sequence[Message]) -> None:
    """Deal out one intent's messages."""
    ends = [round(share * len(messages)) for share in accumulate((_LABELLED, _FRESH, _PROMPTS, _FIRST))]
    labelled, fresh, prompts, first = ends
    shift.labelled += messages[:labelled]
    shift.fresh += messages[labelled:fresh]
    if intent in shift.early:
        shift.prompts += messages[fresh:prompts]
        shift.first += messages[prompts:first]
        shift.second += messages[prompts:]
    else:
        shift.second += messages[fresh:]


def _deal_out_of_scope(shift: Shift, folder: Path, rng: random.Random, share: float) -> None:
    """Two sevenths label the teacher's class, three come in the second wave, two are fresh."""
    texts = [row.text for row in read_rows(folder / "out_of_scope.csv", label_column=None)]
    texts = rng.sample(texts, round(share * len(texts)))
    messages = [Message(text, _OUT_OF_SCOPE) for text in texts]
    two, five = 2 * len(texts) // 7, 5 * len(texts) // 7
    shift.labels.append(_OUT_OF_SCOPE)
    shift.labelled += messages[:two]
    shift.second += messages[two:five]
    shift.fresh += messages[five:]
