"""What a candidate may answer, and from which confidence on: judged on all that it was not taught, and on its trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.ledger import Run
from core.models.folder import load_student
from monitoring.statistics.selective import Selection
from training.cascade import judge_threshold
from training.examples import hard_labels
from training.runs.context import RunContext
from training.runs.judge import distributions
from training.runs.prepare import candidate_folder, read_samples
from training.trust import Verdict, judge_answers


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a candidate may answer."""

    verdicts: list[Verdict]
    """One a class."""
    threshold: Selection | None
    """None: `trust.min_confidence`."""

    @property
    def trusted(self) -> int:
        """Classes that it may answer."""
        return sum(verdict.trusted for verdict in self.verdicts)


def judge_candidate(context: RunContext, run: Run, trial: Sequence[Mapping[str, Any]]) -> Judgement:
    """Judge the candidate: on calibration and hold-out (see `training.distil`), and the trial's comparisons.

    `trial` rows have `challenger_label`, `challenger_confidence` and `teacher_label`.
    """
    task = context.task(run)
    labels = task.label_set()
    held = [s.example for s in read_samples(context, run) if s.part != "train" and s.example.teacher is not None]
    student = load_student(candidate_folder(context, run))
    probabilities = distributions(student, [example.text for example in held], labels.names)
    tried = [row for row in trial if row["challenger_label"] in labels]
    confidence = np.array(
        [*probabilities.max(axis=1), *(row["challenger_confidence"] for row in tried)], dtype=np.float32
    )
    predicted = np.array(
        [*probabilities.argmax(axis=1), *(labels.index[row["challenger_label"]] for row in tried)], dtype=np.int64
    )
    answers = np.array(
        [*hard_labels(held, labels), *(labels.index[row["teacher_label"]] for row in tried)], dtype=np.int64
    )
    verdicts = judge_answers(confidence, predicted, answers, labels, task.trust)
    return Judgement(verdicts, judge_threshold(confidence, predicted, answers, verdicts, task.trust))
