"""What a candidate may answer: judged on all that it was not taught, and on its trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from core.ledger import Run
from core.models.folder import load_student
from training.examples import hard_labels
from training.runs.context import RunContext
from training.runs.judge import distributions
from training.runs.prepare import candidate_folder, read_samples
from training.trust import Verdict, judge_answers


def candidate_verdicts(context: RunContext, run: Run, trial: Sequence[Mapping[str, Any]]) -> list[Verdict]:
    """One verdict a class: on calibration and hold-out (see `training.distil`), and the trial's comparisons.

    `trial` rows have `challenger_label`, `challenger_confidence` and `teacher_label`.
    """
    task = context.task(run)
    labels = task.label_set()
    held = [s.example for s in read_samples(context, run) if s.part != "train" and s.example.teacher is not None]
    student = load_student(candidate_folder(context, run))
    probabilities = distributions(student, [example.text for example in held], labels.names)
    tried = [row for row in trial if row["challenger_label"] in labels]
    confidence = [*probabilities.max(axis=1), *(row["challenger_confidence"] for row in tried)]
    predicted = [*probabilities.argmax(axis=1), *(labels.index[row["challenger_label"]] for row in tried)]
    answers = [*hard_labels(held, labels), *(labels.index[row["teacher_label"]] for row in tried)]
    return judge_answers(
        np.array(confidence, dtype=np.float32),
        np.array(predicted, dtype=np.int64),
        np.array(answers, dtype=np.int64),
        labels,
        task.trust,
    )
