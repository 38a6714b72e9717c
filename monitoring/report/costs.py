"""The parts of a report about money and speed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from core.ledger import GoldenRound, Ledger
from core.prices import Price
from monitoring.report.archived import STUDENT, TEACHER, Archived
from monitoring.report.parts import MoneyFacts, RunLine, SpeedLine
from monitoring.report.window import Window


def money_of(
    archived: Archived,
    answerers: Mapping[str, Mapping[str, Any]],
    price: Price | None,
    rounds: Sequence[GoldenRound],
    runs: Sequence[RunLine],
    window: Window,
) -> MoneyFacts:
    """What was saved and spent. Nothing is known of any amount where the teacher's price is not."""
    student, teacher = answerers.get(STUDENT, {}), answerers.get(TEACHER, {})
    answers, uncounted = student.get("n", 0), student.get("uncounted", 0)
    if price is None:
        return MoneyFacts(student_answers=answers, uncounted_answers=uncounted, teacher_answers=teacher.get("n", 0))
    costs = archived.comparison_costs()
    saved = price.cost(student.get("prompt_tokens") or 0, student.get("completion_tokens") or 0)
    shadow = costs["cost"] or 0.0
    golden = sum(one.cost_usd for one in rounds if one.finished and _within(one.finished, window))
    ended = [run for run in runs if run.state != "running" and _within(run.updated, window)]
    return MoneyFacts(
        price_source=price.source,
        saved=saved,
        saved_by_comparisons=None if costs["call"] is None else answers * costs["call"],
        shadow=shadow,
        golden=golden,
        net=saved - shadow - golden,
        fallback=teacher.get("cost") or 0.0,
        runs=math.fsum(run.dollars or 0.0 for run in ended),
        student_answers=answers,
        uncounted_answers=uncounted,
        teacher_answers=teacher.get("n", 0),
    )


def rounds_of(ledger: Ledger, task: str) -> list[GoldenRound]:
    """The finished rounds of the golden set in use."""
    current = ledger.golden.newest(task)
    return [] if current is None else ledger.golden.rounds(task, current.number)


def speed_of(answerers: Mapping[str, Mapping[str, Any]], seconds: float) -> list[SpeedLine]:
    """Times and throughput of student and teacher. `seconds`: of the window, as far as it has passed."""
    return [
        SpeedLine(
            answerer=name,
            answers=row["n"],
            p50=row["p50"],
            p95=row["p95"],
            p99=row["p99"],
            upstream_p50=row["upstream_p50"],
            per_second=row["n"] / max(seconds, 1.0),
            busiest=row["busiest"] / 60,
        )
        for name in (STUDENT, TEACHER)
        if (row := answerers.get(name)) is not None
    ]


def _within(at: float, window: Window) -> bool:
    return window.began <= at < window.ended
