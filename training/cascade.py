"""From which confidence on a student may answer, judged on the same held-out answers as its trust.

What counts is what clients would receive: answers of the classes that it is trusted with, at `trust.min_confidence` and
above. The classes were chosen on the same answers, so agreement on new ones is a little lower than on these; the
shrinkage of `training.trust` keeps that small. Of the trial's answers the unsure ones were drawn more often, so
agreement is lower here than it is, and the threshold no lower than it must be.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from core.settings import TrustSettings
from monitoring.statistics.selective import Selection, lowest_confidence
from training.trust import Verdict


def judge_threshold(
    confidence: NDArray[np.float32],
    predicted: NDArray[np.int64],
    answers: NDArray[np.int64],
    verdicts: Sequence[Verdict],
    settings: TrustSettings,
) -> Selection | None:
    """The lowest confidence at which `trust.target_agreement` is shown to hold; None where there is no target.

    Of n held-out answers, each of shape (n,): the student's confidence and label, and the teacher's label. `verdicts`
    has one entry for each label, in the order of the label set.
    """
    if settings.target_agreement is None:
        return None
    given = np.array([verdict.trusted for verdict in verdicts], dtype=bool)[predicted]
    return lowest_confidence(
        confidence[given],
        (predicted == answers)[given],
        target=settings.target_agreement,
        floor=settings.min_confidence,
        error=settings.target_error,
    )


def describe(selection: Selection) -> str:
    """The evidence, for a person."""
    told = (
        f"{selection.agreed} of {selection.answered} held-out answers agree with the teacher, which shows "
        f"{selection.lower:.1%} with an error of {selection.error:g}"
    )
    if selection.confidence is None:
        return f"no confidence is shown to reach {selection.target:g}: {told}"
    return f"at confidence {selection.confidence:g} and above {told}; {selection.target:g} is asked for"
