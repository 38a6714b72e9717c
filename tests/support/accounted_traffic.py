"""Traffic of ten days in an archive, of which one knows what it cost: a student came after the first 200 exchanges."""

from __future__ import annotations

from typing import Final

from core.archive import Archive, Row
from core.ids import mint
from core.ledger import Move
from core.records import Answerer, Comparison, Exchange, Outcome, Reason, Record, StudentAnswer, Usage

DAYS: Final = 10.0
CALL_USD: Final = 0.002
ALONE, FALLBACK, ANSWERED, SHADOWED, REPEATED = 200, 200, 600, 150, 35
"""Exchanges before there was a student, those that the teacher then answered, the student's, and comparisons."""

_STUDENT: Final = StudentAnswer("1", "a", 0.9, "set")


def archive_traffic(archive: Archive, task: str, end: float) -> None:
    """Archive it, the last exchange at `end`, in seconds since the epoch. Every cascaded answer is a comparison."""
    total = ALONE + FALLBACK + ANSWERED
    start, step = end - DAYS * 86_400, DAYS * 86_400 / (total - 1)
    exchanges = [_exchange(task, number, start + number * step) for number in range(total)]
    cascaded = [one for one in exchanges if one.reason is Reason.NOT_TRUSTED]
    drawn = [one for one in exchanges if one.answered_by is Answerer.STUDENT][:SHADOWED]
    comparisons = [_comparison(one, again=number < REPEATED) for number, one in enumerate([*cascaded, *drawn])]
    _append(archive, f"tutelage:{task}:exchanges", exchanges)
    _append(archive, f"tutelage:{task}:comparisons", comparisons)


def _exchange(task: str, number: int, at: float) -> Exchange:
    alone = number < ALONE
    by_teacher = alone or (number - ALONE) % ((FALLBACK + ANSWERED) // FALLBACK) == 0
    label = "a" if number % 10 else f"rare {number}"
    if by_teacher:
        return Exchange(
            mint(), task, at, Answerer.TEACHER, Reason.NO_STUDENT if alone else Reason.NOT_TRUSTED, 200,
            label=label, student=None if alone else _STUDENT, usage=Usage(500, 200), cost_usd=CALL_USD,
            upstream_ms=800.0,
        )  # fmt: skip
    return Exchange(
        mint(), task, at, Answerer.STUDENT, Reason.CHAMPION, 200, label=label, student=_STUDENT, usage=Usage(7, 1)
    )


def _comparison(exchange: Exchange, *, again: bool) -> Comparison:
    cascaded = exchange.answered_by is Answerer.TEACHER
    return Comparison(
        mint("cmp"),
        exchange.task,
        exchange.id,
        exchange.at,
        exchange.at + 1,
        Outcome.CASCADED if cascaded else Outcome.ANSWERED,
        1.0 if cascaded else 0.25,
        exchange.answered_by,
        _STUDENT,
        teacher_label="a",
        cost_usd=CALL_USD * ((not cascaded) + again),
        again=Outcome.ANSWERED if again else None,
        teacher_again="a" if again else None,
    )


def _append(archive: Archive, stream: str, records: list[Exchange] | list[Comparison]) -> None:
    source = mint("log")
    placed: list[Record] = [*records]
    rows = [Row(source, place + 1, record) for place, record in enumerate(placed)]
    assert archive.append(stream, rows, [Move(stream, source, 0, len(rows))], 100_000)
