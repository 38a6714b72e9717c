"""The part of a report about feedback: what clients said of the window's answers, and what is missing."""

from __future__ import annotations

from collections import Counter
from typing import Final

from monitoring.confident_wrongness import Who
from monitoring.feedback.accuracy import Whose, known
from monitoring.feedback.exposure import Dimension, band_of
from monitoring.report.archived import STUDENT, Archived, Rows
from monitoring.report.parts import Estimate, FeedbackClass, FeedbackFacts, FeedbackShare, Uneven
from monitoring.report.replay import Replay, estimate
from monitoring.rules import Rules
from monitoring.statistics.classification import Classification, as_mean
from monitoring.statistics.missing import reweighted, same_share, worst_case

_LEVEL: Final = 0.01

_Cells = dict[Dimension, Counter[str]]


def feedback_of(archived: Archived, replay: Replay, rules: Rules) -> FeedbackFacts:
    """Join feedback to the window's answers. What is judged goes into the replay's confident wrongness as well."""
    rows, exposure = archived.feedback(), archived.exposure()
    counts = {whose: Classification() for whose in Whose}
    for row in rows:
        _judge(row, counts, replay, rules)
    all_of_them, judged = _cells(exposure, rules), _cells([row | {"n": 1} for row in rows], rules)
    given: Counter[str] = Counter()
    for row in exposure:
        if row["answered_by"] == STUDENT:
            given[known(row["label"], rules)] += row["n"]
    student, answers = counts[Whose.STUDENT], given.total()
    bounds = worst_case(student.correct, student.total, answers) if student.total else None
    return FeedbackFacts(
        judged=student.total,
        answers=answers,
        accuracy=_accuracy(student, rules),
        teacher=_accuracy(counts[Whose.TEACHER], rules),
        withheld=_accuracy(counts[Whose.WITHHELD], rules),
        least=None if bounds is None else bounds[0],
        most=None if bounds is None else bounds[1],
        reweighted=reweighted(given, student.hits, student.given),
        macro_f1=student.macro_f1,
        classes=_classes(student, rules),
        shares=[
            FeedbackShare(dimension.value, cell, count, judged[dimension][cell])
            for dimension in Dimension
            for cell, count in sorted(all_of_them[dimension].items())
        ],
        uneven=_uneven(all_of_them, judged) if rows else [],
    )


def _judge(row: dict[str, object], counts: dict[Whose, Classification], replay: Replay, rules: Rules) -> None:
    truth, label = known(str(row["truth"]), rules), known(str(row["label"]), rules)
    if row["answered_by"] == STUDENT:
        counts[Whose.STUDENT].add(truth, label)
        sure = float(str(row["student_confidence"]))
        replay.state.wrongness.judged(Who.STUDENT, label == truth, sure, label, rules)
        return
    counts[Whose.TEACHER].add(truth, label)
    if row["student_label"] is not None:
        counts[Whose.WITHHELD].add(truth, known(str(row["student_label"]), rules))


def _cells(rows: Rows, rules: Rules) -> _Cells:
    """How many answers there are in each cell of each dimension."""
    cells: _Cells = {dimension: Counter() for dimension in Dimension}
    for row in rows:
        confidence = row.get("confidence", row.get("student_confidence"))
        cells[Dimension.ANSWERED_BY][row["answered_by"]] += row["n"]
        cells[Dimension.CLASS][known(row["label"], rules)] += row["n"]
        if confidence is not None:
            cells[Dimension.CONFIDENCE][band_of(confidence)] += row["n"]
    return cells


def _uneven(all_of_them: _Cells, judged: _Cells) -> list[Uneven]:
    found = {dimension: same_share(all_of_them[dimension], judged[dimension]) for dimension in Dimension}
    return [Uneven(name.value, one.p_value, one.p_value <= _LEVEL / len(found)) for name, one in found.items()]


def _accuracy(counts: Classification, rules: Rules) -> Estimate | None:
    return _share(counts.correct, counts.total, rules)


def _classes(counts: Classification, rules: Rules) -> list[FeedbackClass]:
    lines = []
    for label in counts.labels:
        hits, given, truth = counts.hits.get(label, 0), counts.given.get(label, 0), counts.truth.get(label, 0)
        precision, recall = _share(hits, given, rules), _share(hits, truth, rules)
        lines.append(FeedbackClass(label, given, truth, precision, recall, counts.f1(label)))
    return sorted(lines, key=lambda one: (one.f1 or 0.0, one.label))


def _share(right: int, total: int, rules: Rules) -> Estimate | None:
    return estimate(as_mean(right, total), rules.interval_error)
