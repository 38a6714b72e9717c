"""A candidate that was deliberately taught wrong, put to the product's own gates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from core.models.folder import load_student
from core.settings import TaskSettings
from training.compare import Pairs, compare
from training.distil import distil
from training.examples import Example
from training.gates import GateReport, judge, spent_alpha
from training.runs.judge import distributions, latency_ms, limits_of, size_mb


def refuse_bad_candidate(
    name: str,
    task: TaskSettings,
    champion: Path,
    taught: Sequence[Example],
    held: Sequence[tuple[str, str]],
    folder: Path,
    *,
    planted: Sequence[str],
) -> GateReport:
    """Teach a student that mistakes each of the `planted` classes for the next one, and judge it beside the champion.

    `taught` is what the champion was taught, `held`, pairs of text and label, what both are judged on: the candidate's
    only fault is the planted one.
    """
    examples = [_mistaught(example, planted) for example in taught]
    bad = distil(name, task, examples, folder / "bad-candidate")
    labels = task.label_set()
    texts = [text for text, _ in held]
    old, new = load_student(champion), load_student(bad.folder)
    answers = np.array([labels.index[label] for _, label in held], dtype=np.int64)
    before, after = (distributions(student, texts, labels.names) for student in (old, new))
    pairs = Pairs(
        champion=before.argmax(axis=1) == answers,
        candidate=after.argmax(axis=1) == answers,
        answers=answers,
        parts={"evaluation": np.ones(len(texts), dtype=bool)},
        probabilities=np.ones(len(texts)),
    )
    limits = limits_of(task, spent_alpha(task.retrain.alpha, 0))
    paired = compare(pairs, labels.names, limits)
    return judge(
        paired,
        before,
        after,
        answers,
        limits,
        golden={},
        latency_ms=latency_ms(new, texts),
        champion_latency_ms=latency_ms(old, texts),
        size_mb=size_mb(bad.folder),
    )


def _mistaught(example: Example, planted: Sequence[str]) -> Example:
    """The example with its planted label, and that label's probability, given to the next planted one."""
    following = dict(zip(planted, [*planted[1:], planted[0]], strict=True))
    spread = {following.get(label, label): share for label, share in example.distribution.items()}
    teacher = following.get(example.teacher, example.teacher) if example.teacher is not None else None
    return Example(example.text, teacher=teacher, distribution=spread, method=example.method, source=example.source)
