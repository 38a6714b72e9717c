"""From answers, and from what was found of a task, to the facts that are judged."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final, TypeVar

from core.archive import Archive
from core.data_files import read_rows
from core.errors import SettingsError
from core.ledger import Ledger
from core.prices import price_by_name
from core.records import Answerer
from core.records import Kind as RecordKind
from core.settings import TaskSettings
from monitoring.rules import rules_of
from monitoring.snapshot import read_snapshot
from monitoring.statistics.confidence import Interval, confidence_sequence
from monitoring.statistics.weights import WeightedMean
from training.advice.answers import Answers
from training.advice.facts import Facts, Kind, Privacy, Seen, most_fallback
from training.economics import Case, Found, Given, Known, assemble
from training.economics.accounted import read_row

SMALLER: Final = "gpt-4o-mini"
"""The smaller hosted model to compare with, where none is named."""

T = TypeVar("T")

_LEAST: Final = 100  # comparisons, or answers, before anything is said of them
_COMMONEST: Final = 10
_OUTPUTS: Final = f"""
    WITH answers AS (
        SELECT coalesce(label, output, nullif(output_hash, '')) AS answer, count(*) AS n FROM records
        WHERE "at" >= $1 AND answered_by = $2 GROUP BY answer
    ), counts AS (SELECT n FROM answers WHERE answer IS NOT NULL)
    SELECT sum(n) AS seen, count(*) AS different,
           (SELECT sum(n) FROM (SELECT n FROM counts ORDER BY n DESC LIMIT {_COMMONEST})) AS commonest FROM counts
"""  # noqa: S608 - of a constant


def read_seen(archive: Archive, ledger: Ledger, found: Found, since: float) -> Seen:
    """What a task's traffic from `since` (seconds since the epoch) on, and its monitor, have shown.

    Raises StateError where archive or snapshot cannot be read.
    """
    row = read_row(archive, _OUTPUTS, found.task, RecordKind.EXCHANGE, [Answerer.TEACHER.value], since)
    seen, rules = int(row["seen"] or 0), rules_of(found.settings)
    snapshot = read_snapshot(ledger, found.task)
    state = None if snapshot is None else snapshot[0]
    watched = None if state is None else state.watched
    return Seen(
        outputs=int(row["different"]) if seen >= _LEAST else None,
        repeated=float(row["commonest"]) / seen if seen >= _LEAST else None,
        agreement=None if watched is None else _interval(watched.student.whole, rules.interval_error),
        served=None if watched is None else _interval(watched.served.whole, rules.interval_error),
        ceiling=None if state is None else _interval(state.ceiling.mean, rules.interval_error),
        teacher_ms=found.accounted.teacher_ms,
    )


def set_by(found: Found) -> dict[str, Any]:
    """Answers that a task's settings and files give by themselves; None where they do not.

    Raises DataError where a file of the task cannot be read.
    """
    task = found.settings
    return {
        "kind": Kind(task.kind).value,
        "classes": len(task.labels),
        "quality": task.trust.target_agreement,
        "may_train": task.teacher.may_train,
        "privacy": _privacy(task).value,
        "labelled": sum(len(read_rows(path)) for path in task.data.labelled),
    }


def measured_by(found: Found) -> set[str]:
    """Questions that need no answer, since `facts_of` takes it from the task and its traffic."""
    seen = found.accounted
    return {"teacher"} | {
        name for name in ("queries", "input_tokens", "output_tokens") if getattr(seen, name) is not None
    }


def facts_of(answers: Answers, found: Found | None = None, seen: Seen | None = None) -> Facts:
    """The facts. Raises SettingsError, naming the option, where an answer is missing or a price is not known."""
    seen = seen or Seen()
    drift, quality = _needed(answers.drift, "drift"), _needed(answers.quality, "quality")
    given = Given(
        queries=answers.queries,
        input_tokens=answers.input_tokens,
        output_tokens=answers.output_tokens,
        teacher=answers.teacher,
        teacher_price=answers.teacher_price,
        fallback=answers.fallback,
        hosting_usd=answers.hosting_usd,
        once_usd=answers.once_usd,
        retraining_months=drift.months,
    )
    case = assemble(given, found)
    if answers.fallback is None:
        case = replace(case, fallback=_fallback(case.fallback, quality, seen))
    return Facts(
        kind=_needed(answers.kind, "kind"),
        classes=answers.classes,
        quality=quality,
        may_train=_needed(answers.may_train, "may_train"),
        privacy=_needed(answers.privacy, "privacy"),
        latency_ms=_needed(answers.latency_ms, "latency_ms"),
        drift=drift,
        labelled=_needed(answers.labelled, "labelled"),
        tried=_needed(answers.tried, "tried"),
        distilled=replace(case, retraining_months=Known(drift.months, f"drift: {drift.value}")),
        smaller=_smaller(answers, given, found),
        seen=seen,
    )


def _smaller(answers: Answers, given: Given, found: Found | None) -> Case | None:
    """The books of the smaller hosted model: it takes over everything at once, and nobody watches it."""
    name = answers.smaller or SMALLER
    if answers.smaller_price is None and price_by_name(name) is None:
        if answers.smaller is None:
            return None  # nobody has asked for it
        raise SettingsError(f"the price of {name} is not known; give --smaller-price IN OUT, in $ a million tokens")
    alone = replace(
        given,
        student=name,
        student_price=answers.smaller_price,
        fallback=0.0,
        shadow=0.0,
        repeat=0.0,
        golden_usd=0.0,
        hosting_usd=0.0,
        labels=0.0,
        once_usd=0.0,
        retraining_usd=0.0,
    )
    return assemble(alone, found)


def _fallback(known: Known, quality: float, seen: Seen) -> Known:
    """The teacher's share: as measured where clients get what is asked for, else enough that they surely would."""
    if seen.agreement is None or (seen.served is not None and seen.served.estimate >= quality):
        return known
    most = most_fallback(seen.agreement.estimate, quality)
    if most <= known.value:
        return known
    return Known(most, f"at most, for {quality:.1%} at a student agreement of {seen.agreement.estimate:.1%}")


def _privacy(task: TaskSettings) -> Privacy:
    """What the settings permit: labels and comparisons need that data may leave, and that texts are kept."""
    permitted = task.teacher.data_may_leave and task.privacy.store == "full"
    return Privacy.TEACHER if permitted else Privacy.REQUESTS


def _interval(mean: WeightedMean, error: float) -> Interval | None:
    return confidence_sequence(mean, error) if mean.count >= _LEAST else None


def _needed(answer: T | None, name: str) -> T:
    if answer is None:
        raise SettingsError(f"an answer is missing; give --{name.replace('_', '-')}")
    return answer
