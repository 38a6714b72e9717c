"""A small made-up task for training: three intents with words of their own, and a teacher's word on each message."""

from __future__ import annotations

import random

from core.settings import TaskSettings
from training.examples import Example

INTENTS = {
    "order": ("parcel", "tracking", "delivery", "courier", "shipped", "postman"),
    "refund": ("money", "refund", "repay", "charged", "bank", "invoice"),
    "praise": ("thanks", "great", "lovely", "wonderful", "brilliant", "happy"),
}
_AROUND = (
    "hello",
    "my",
    "was",
    "is",
    "please",
    "today",
    "again",
    "about",
    "the",
    "and",
    "really",
    "still",
    "why",
    "never",
    "your",
)


def messages(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """`(text, intent)` pairs: two words of the intent among others."""
    rng = random.Random(seed)
    pairs = []
    for at in range(count):
        intent = list(INTENTS)[at % len(INTENTS)]
        words = rng.sample(INTENTS[intent], 2) + rng.sample(_AROUND, 5)
        rng.shuffle(words)
        pairs.append((" ".join(words), intent))
    return pairs


def labelled(count: int, seed: int = 0) -> list[Example]:
    """Examples with a teacher's distributions."""
    rest = 0.1 / (len(INTENTS) - 1)
    return [
        Example(text, None, intent, {name: 0.9 if name == intent else rest for name in INTENTS}, "distribution")
        for text, intent in messages(count, seed)
    ]


def task(**changes) -> TaskSettings:
    """Settings of the task."""
    given = {
        "labels": list(INTENTS),
        "teacher": {"base_url": "http://127.0.0.1:9/v1", "model": "teacher", "may_train": True, "data_may_leave": True},
    }
    return TaskSettings(**(given | changes))
