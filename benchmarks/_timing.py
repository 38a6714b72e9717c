"""CPU time of an answer, measured the same way for everything that answers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from core.models.folder import Student

_BATCH: Final = 64
_WARM_UP: Final = 3
_LEAST_SECONDS: Final = 2.0
_MOST_TEXTS: Final = 512


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """Microseconds of process CPU time for each text."""

    single_us: float
    batch_us: float
    """In batches of 64."""


def cpu_times(student: Student, texts: Sequence[str], *, least_seconds: float = _LEAST_SECONDS) -> CpuTimes:
    """Measure `student.predict` on texts one by one and in batches; each for `least_seconds`, after a warm-up."""
    sample = list(texts[:_MOST_TEXTS])
    singles = [[text] for text in sample]
    batches = [sample[at : at + _BATCH] for at in range(0, len(sample) - _BATCH + 1, _BATCH)] or [sample]
    return CpuTimes(_measure(student, singles, least_seconds), _measure(student, batches, least_seconds))


def _measure(student: Student, batches: Sequence[Sequence[str]], least_seconds: float) -> float:
    for batch in batches[:_WARM_UP]:
        student.predict(batch)
    answered = 0
    start = time.process_time()
    while (spent := time.process_time() - start) < least_seconds:
        for batch in batches:
            student.predict(batch)
            answered += len(batch)
    return spent / answered * 1e6
