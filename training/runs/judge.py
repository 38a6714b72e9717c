"""The step `gates`: candidate and champion on the run's hold-out."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.ledger import Run
from core.models.folder import Student, load_student
from core.settings import TaskSettings
from training.compare import Limits, Pairs, compare
from training.examples import hard_labels
from training.gates import GateReport, judge, spent_alpha
from training.runs.context import RunContext
from training.runs.prepare import candidate_folder, champion_folder, read_samples
from training.runs.results import About, needed
from training.workflow import read_gold

_TIMED = 100  # texts, one by one


def run_gates(context: RunContext, run: Run) -> GateReport:
    """Let both students answer the gates' part of the hold-out, and judge."""
    task, about = context.task(run), needed(run, "about", About)
    labels = task.label_set()
    limits = limits_of(task, spent_alpha(task.retrain.alpha, about.earlier))
    samples = [sample for sample in read_samples(context, run) if sample.gate]
    texts = [sample.example.text for sample in samples]
    answers = hard_labels([sample.example for sample in samples], labels)
    champion, candidate = load_student(champion_folder(context, run)), load_student(candidate_folder(context, run))
    before, after = (distributions(student, texts, labels.names) for student in (champion, candidate))
    recent = np.array([sample.recent for sample in samples], dtype=bool)
    pairs = Pairs(
        champion=before.argmax(axis=1) == answers,
        candidate=after.argmax(axis=1) == answers,
        answers=answers,
        parts={"recent traffic": recent, "older data": ~recent},
        probabilities=np.array([sample.probability for sample in samples], dtype=np.float64),
    )
    return judge(
        compare(pairs, labels.names, limits),
        before,
        after,
        answers,
        limits,
        golden=_golden(task, candidate),
        latency_ms=latency_ms(candidate, texts),
        champion_latency_ms=latency_ms(champion, texts),
        size_mb=size_mb(candidate_folder(context, run)),
    )


def limits_of(task: TaskSettings, alpha: float) -> Limits:
    """What is asked of a candidate that is tested at `alpha`."""
    settings = task.retrain
    return Limits(
        margin=settings.margin,
        alpha=alpha,
        class_fdr=settings.class_fdr,
        max_latency_ms=settings.max_latency_ms,
        max_size_mb=settings.max_size_mb,
    )


def distributions(student: Student, texts: Sequence[str], labels: Sequence[str]) -> NDArray[np.float32]:
    """A student's distributions over `labels`, shape (n, k).

    A label that it does not know has probability 0; what it gives to labels that are no longer there is lost to it.
    """
    if not texts:
        return np.zeros((0, len(labels)), dtype=np.float32)
    own = student.predict(texts).probabilities
    if student.labels.names == tuple(labels):
        return own
    known = [(column, student.labels.index[name]) for column, name in enumerate(labels) if name in student.labels]
    spread = np.zeros((len(texts), len(labels)), dtype=np.float32)
    spread[:, [column for column, _ in known]] = own[:, [column for _, column in known]]
    return spread


def _golden(task: TaskSettings, candidate: Student) -> dict[str, bool]:
    """For each golden text whether the candidate gives its label."""
    examples = read_gold(task, task.data.golden)
    if not examples:
        return {}
    predicted = distributions(candidate, [e.text for e in examples], task.labels).argmax(axis=1)
    wanted = hard_labels(examples, task.label_set())
    return {e.text: bool(right) for e, right in zip(examples, predicted == wanted, strict=True)}


def latency_ms(student: Student, texts: Sequence[str]) -> float:
    """Median time for one text, in milliseconds; 0 without texts."""
    taken = []
    for text in texts[:_TIMED]:
        started = time.perf_counter()
        student.predict([text])
        taken.append((time.perf_counter() - started) * 1000)
    return statistics.median(taken) if taken else 0.0


def size_mb(folder: Path) -> float:
    """Size of a student's folder, in megabytes."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
