"""The gates: what a candidate must show beside the champion before it may be promoted. Pure functions.

It must stand in comparison (`training.compare`), its probabilities must be no worse (Brier score), it must answer what
it must, and be fast and small enough.

The chance of passing a candidate that is worse by the margin is shared out over the candidates of one alarm: the k-th
is tested at alpha / 2^k, so that trying again and again does not pass by luck.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np
from numpy.typing import NDArray

from training.compare import Limits, PairedResult, Refusal
from training.paired import brier_scores, mean_interval


class Calibration(msgspec.Struct, frozen=True):
    """Mean Brier scores, 0 to 2, and the interval (90 %) of the difference candidate - champion."""

    champion: float
    candidate: float
    low: float
    high: float


class GateReport(msgspec.Struct, frozen=True):
    """All gates of one candidate."""

    paired: PairedResult
    calibration: Calibration
    golden: int
    """Golden examples that were asked."""
    golden_failed: list[str]
    latency_ms: float
    champion_latency_ms: float
    size_mb: float
    refusals: list[Refusal]

    @property
    def passed(self) -> bool:
        """Whether the candidate may go on to its trial."""
        return not self.refusals


def spent_alpha(alpha: float, earlier: int) -> float:
    """The error probability for a candidate after `earlier` ones of the same alarm: `alpha / 2^k`, k = earlier + 1.

    Over all k they sum up to alpha, however many come.
    """
    return alpha / float(2 ** (earlier + 1))


def judge(
    paired: PairedResult,
    champion: NDArray[np.float32],
    candidate: NDArray[np.float32],
    answers: NDArray[np.int64],
    limits: Limits,
    *,
    golden: Mapping[str, bool],
    latency_ms: float,
    champion_latency_ms: float,
    size_mb: float,
) -> GateReport:
    """All gates. `champion` and `candidate`: distributions, shape (n, k), on the compared texts.

    `golden`: for each golden example's text, whether the candidate answers it as it must.
    """
    refusals = list(paired.refusals)
    calibration = compare_calibration(champion, candidate, answers)
    # A text that goes from right to wrong in full confidence costs 2: so much may the margin's share of them cost.
    allowed = 2 * limits.margin
    if calibration.low > allowed:
        refusals.append(
            Refusal(
                "calibration",
                f"its probabilities are worse: Brier score {calibration.candidate:.3f} against "
                f"{calibration.champion:.3f}, more than {allowed:.3f} apart",
            )
        )
    failed = [text for text, right in golden.items() if not right]
    if failed:
        shown = "; ".join(repr(text[:60]) for text in failed[:3])
        refusals.append(Refusal("golden", f"{len(failed)} of {len(golden)} golden examples go wrong: {shown}"))
    if latency_ms > limits.max_latency_ms:
        refusals.append(
            Refusal("latency", f"it takes {latency_ms:.1f} ms a text, more than {limits.max_latency_ms:g} ms")
        )
    if size_mb > limits.max_size_mb:
        refusals.append(Refusal("size", f"it weighs {size_mb:.0f} MB, more than {limits.max_size_mb:g} MB"))
    return GateReport(paired, calibration, len(golden), failed, latency_ms, champion_latency_ms, size_mb, refusals)


def compare_calibration(
    champion: NDArray[np.float32], candidate: NDArray[np.float32], answers: NDArray[np.int64]
) -> Calibration:
    """Paired Brier scores of two students' distributions, shape (n, k)."""
    before, after = brier_scores(champion, answers), brier_scores(candidate, answers)
    _, low, high = mean_interval(after - before, 0.1)
    means = (float(before.mean()), float(after.mean())) if len(answers) else (0.0, 0.0)
    return Calibration(*means, max(low, -2.0), min(high, 2.0))
