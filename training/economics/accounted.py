"""What a task's traffic really was, from what was accounted: volume, tokens, prices, and who answered.

The gateway writes down the cost of every answer at the price of its day, the shadow worker that of every comparison. So
nothing here is estimated, but for what lies ahead: a month is taken to go on like the days that were looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa

from core.archive import Archive
from core.archive.columns import utc
from core.errors import StateError
from core.ledger import Ledger
from core.records import Answerer, Kind, Outcome, Reason
from monitoring.power import DAYS_A_MONTH

_DAY: Final = 86_400.0
_LEAST_SECONDS: Final = 600.0  # of traffic before anything is said of a month
_LEAST: Final = 100  # of whatever a mean or a share is taken of
_RUNS: Final = 50

_EXCHANGES: Final = """
    SELECT count(*) AS answered, min(epoch_us("at")) / 1e6 AS first, max(epoch_us("at")) / 1e6 AS last,
           count(*) FILTER (answered_by = $2) AS by_teacher,
           count(*) FILTER (answered_by = $2 AND reason = $3) AS without_student,
           count(*) FILTER (answered_by = $2 AND prompt_tokens > 0) AS counted,
           sum(prompt_tokens) FILTER (answered_by = $2) AS prompt_tokens,
           sum(completion_tokens) FILTER (answered_by = $2) AS completion_tokens,
           sum(cost_usd) FILTER (answered_by = $2) AS cost_usd,
           median(upstream_ms) FILTER (answered_by = $2 AND upstream_ms > 0) AS teacher_ms
    FROM records WHERE "at" >= $1 AND answered_by <> $4
"""
_COMPARISONS: Final = """
    SELECT count(*) FILTER (outcome = $2) AS shadowed,
           count(*) FILTER (outcome IN ($2, $3)) AS compared,
           count(*) FILTER (outcome IN ($2, $3) AND again = $2) AS repeated,
           sum(cost_usd) AS cost_usd
    FROM records WHERE "at" >= $1
"""


@dataclass(frozen=True, slots=True)
class Accounted:
    """What was measured. None: too little was seen to say."""

    exchanges: int = 0
    days: float = 0.0
    """From the first to the last of them."""
    queries: float | None = None
    """A month, at this pace."""
    input_tokens: float | None = None
    """Of a prompt, as the teacher counted them where it answered; `output_tokens`: of its answer."""
    output_tokens: float | None = None
    teacher_usd: float | None = None
    """Of one call of the teacher, those for comparisons included."""
    teacher_ms: float | None = None
    """Median time of its answers to clients."""
    fallback: float | None = None
    """Share of the exchanges that it answered, since there has been a student."""
    shadow: float | None = None
    """Share of the student's answers that were compared by a call."""
    repeat: float | None = None
    """Share of the comparisons for which it was asked a second time."""


@dataclass(frozen=True, slots=True)
class Retrainings:
    """What the ledger says of a task's runs."""

    runs: int = 0
    mean_usd: float | None = None
    """What the teacher's labels of one cost. Its trial's comparisons are shadow calls, which are counted as those."""
    months: float | None = None
    """From one to the next; None where there were not two."""


def read_accounted(archive: Archive, task: str, since: float) -> Accounted:
    """Read a task's exchanges and comparisons from `since` (seconds since the epoch) on.

    Raises StateError where the archive is away.
    """
    whose = [Answerer.TEACHER.value, Reason.NO_STUDENT.value, Answerer.NOBODY.value]
    exchanges = read_row(archive, _EXCHANGES, task, Kind.EXCHANGE, whose, since)
    outcomes = [Outcome.ANSWERED.value, Outcome.CASCADED.value]
    compared = read_row(archive, _COMPARISONS, task, Kind.COMPARISON, outcomes, since)
    answered, by_teacher = exchanges["answered"], exchanges["by_teacher"]
    seconds = exchanges["last"] - exchanges["first"] if answered else 0.0
    with_student = answered - exchanges["without_student"]
    counted, calls = exchanges["counted"], by_teacher + compared["shadowed"] + compared["repeated"]
    cost = (exchanges["cost_usd"] or 0.0) + (compared["cost_usd"] or 0.0)
    paced = seconds >= _LEAST_SECONDS and answered >= _LEAST
    return Accounted(
        exchanges=answered,
        days=seconds / _DAY,
        queries=answered / seconds * _DAY * DAYS_A_MONTH if paced else None,
        input_tokens=_mean(exchanges["prompt_tokens"], counted),
        output_tokens=_mean(exchanges["completion_tokens"], counted),
        teacher_usd=_mean(cost, calls),
        teacher_ms=exchanges["teacher_ms"] if by_teacher >= _LEAST else None,
        fallback=_mean(by_teacher - exchanges["without_student"], with_student),
        shadow=_mean(compared["shadowed"], answered - by_teacher),
        repeat=_mean(compared["repeated"], compared["compared"]),
    )


def read_row(archive: Archive, sql: str, task: str, kind: Kind, parameters: list[Any], since: float) -> dict[str, Any]:
    """The one row of a query whose first parameter is the time from which on records count.

    Raises StateError where the archive is away.
    """
    try:
        (row,) = archive.query(sql, task, kind, [utc(since), *parameters], since).to_pylist()
    except (OSError, duckdb.Error, pa.ArrowException) as error:
        raise StateError(
            f"the archive of {task!r} cannot be read ({error}); make archive.url reachable, and try again"
        ) from error
    found: dict[str, Any] = row
    return found


def read_retrainings(ledger: Ledger, task: str) -> Retrainings:
    """What the newest runs that have gathered their data cost, and how often they come."""
    runs = [run for run in ledger.runs.newest(task, limit=_RUNS) if "cost_usd" in run.record.get("data", {})]
    if not runs:
        return Retrainings()
    seconds = runs[0].started - runs[-1].started
    return Retrainings(
        runs=len(runs),
        mean_usd=sum(float(run.record["data"]["cost_usd"]) for run in runs) / len(runs),
        months=seconds / (len(runs) - 1) / _DAY / DAYS_A_MONTH if len(runs) > 1 and seconds > 0 else None,
    )


def count_labels(file: Path) -> int | None:
    """How many prompts the teacher has labelled for a task: lines of its file. None where there is no such file.

    Raises StateError where it cannot be read.
    """
    try:
        with file.open("rb") as lines:
            return sum(not line.isspace() for line in lines)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(f"{file}: cannot be read ({error.strerror}); mend that, and try again") from error


def _mean(total: float | None, count: int) -> float | None:
    """None of too few. DuckDB's sums of whole numbers are decimals."""
    return float(total or 0.0) / count if count >= _LEAST else None
