"""A full window against the reference. Takes a second or two, some ten where it looks like drift; in a thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from monitoring.drift import by_evidently
from monitoring.drift.embeddings import MeanDiscrepancy, random_features, vectors_of
from monitoring.drift.labels import SIGNALS as LABEL_SIGNALS
from monitoring.drift.labels import Table, compare_labels, table_of
from monitoring.drift.new_classes import Unsure, suspects, unsure_of
from monitoring.drift.numbers import Wasserstein, as_numbers, columns_of, within_classes
from monitoring.drift.permutations import Bools, Floats, Strata, Tested, compare_together, strata_of
from monitoring.drift.prior_shift import class_shares
from monitoring.drift.rates import more_often
from monitoring.drift.reference import Reference
from monitoring.drift.rows import Row
from monitoring.drift.rules import DriftRules
from monitoring.drift.season import Season, count_by_slot
from monitoring.drift.verdict import INPUTS, LABELS, NEW_CLASS, TEMPLATES, Part, Score, Verdict
from monitoring.drift.window import Window

_COARSE: Final = 1e-3  # p-value that is fine enough once drift is called
_EXPECTED_ROWS: Final = 20_000


def score_window(
    reference: Reference,
    window: Window,
    season: Season,
    unsure: Sequence[Unsure],
    rules: DriftRules,
    *,
    seed: int,
    called: bool = False,
) -> Verdict:
    """Compare a window with the reference, and have Evidently say the scores. Changes nothing.

    `unsure` is what the windows before left, `seed` that of the permutations. `called`: drift is called already, so
    that p-values need not be as fine as it takes to call it.
    """
    judged = _judge(reference, window, season, unsure, rules, seed=seed, called=called)
    shown = by_evidently.scores(_sides(judged.table), judged.numbers)
    verdict = judged.verdict
    scores = [msgspec.structs.replace(one, score=shown.get(one.signal, one.score)) for one in verdict.scores]
    return msgspec.structs.replace(verdict, scores=scores)


def judge_window(
    reference: Reference,
    window: Window,
    season: Season,
    unsure: Sequence[Unsure],
    rules: DriftRules,
    *,
    seed: int,
    called: bool = False,
) -> Verdict:
    """The same without Evidently: the scores are our own, which are equal to its to a few digits."""
    return _judge(reference, window, season, unsure, rules, seed=seed, called=called).verdict


@dataclass(frozen=True, slots=True)
class _Judged:
    verdict: Verdict
    table: Table
    numbers: Mapping[str, tuple[Floats, Floats]]
    """As they were compared: of the reference, and of the window."""


def _judge(
    reference: Reference,
    window: Window,
    season: Season,
    unsure: Sequence[Unsure],
    rules: DriftRules,
    *,
    seed: int,
    called: bool,
) -> _Judged:
    rng = np.random.default_rng(seed)
    before, now = reference.rows, reference.counted(window.rows)
    hours = count_by_slot(now)
    table, compared = _label_table(reference, hours, season, rules)
    coarse = _COARSE if called else 0.0
    of_labels = compare_labels(table, rng, max(rules.level(LABELS), coarse))
    of_inputs, numbers, names = _compare_inputs(reference, now, rng, max(rules.level(INPUTS), coarse))
    mismatch, of_templates = _templates(reference, window)
    clusters, of_clusters = suspects(reference, [*unsure, unsure_of(now, rules)], rules)
    p_values = {LABELS: of_labels.p_value, INPUTS: of_inputs.p_value, TEMPLATES: of_templates, NEW_CLASS: of_clusters}
    verdict = Verdict(
        version=reference.version,
        began=window.began,
        ended=window.ended,
        exchanges=window.asked,
        rows=len(now),
        bursts=len(window.rows) - len(now),
        reference=len(before),
        scores=[*_scores(LABEL_SIGNALS, of_labels), *_scores(names, of_inputs), mismatch],
        parts=[Part(name, p_value, rules.level(name)) for name, p_value in p_values.items()],
        season=compared,
        confidence=(_mean_confidence(before), _mean_confidence(now)),
        classes=class_shares(reference, now, list(rules.positions), rng),
        clusters=clusters,
        hours=hours,
    )
    return _Judged(verdict, table, numbers)


def _label_table(
    reference: Reference, hours: dict[int, dict[str, int]], season: Season, rules: DriftRules
) -> tuple[Table, str]:
    """Labels before and now: of the same hours of the week, where these are known; else of the whole reference."""
    known = season.is_known(rules.season_span) and all(
        sum(season.hours.get(slot, {}).values()) >= sum(labels.values()) for slot, labels in hours.items()
    )
    if known:
        return table_of(season.hours, hours), "the same hours of the week"
    whole = [{0: _summed(side)} for side in (reference.hours, hours)]
    return table_of(*whole), "the whole reference; season not known yet"


def _summed(hours: Mapping[int, Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for labels in hours.values():
        for label, count in labels.items():
            total[label] = total.get(label, 0) + count
    return total


def _sides(table: Table) -> tuple[list[str], list[str]]:
    """The labels of a table as columns; where hours are weighted, rounded to a twenty-thousandth."""
    before = table.before[0] if len(table.before) == 1 else np.rint(table.expected * _EXPECTED_ROWS).astype(int)
    counts = (before, table.now.sum(axis=0))
    one, other = ([name for name, n in zip(table.names, side, strict=True) for _ in range(n)] for side in counts)
    return one, other


def _compare_inputs(
    reference: Reference, now: Sequence[Row], rng: np.random.Generator, level: float
) -> tuple[Tested, dict[str, tuple[Floats, Floats]], list[str]]:
    """Test numbers and vectors within classes; with the numbers as they were compared, and the signals' names."""
    before = reference.rows
    strata = strata_of([row.label for row in before], [row.label for row in now])
    columns = columns_of(before, now)
    residuals = {name: within_classes(values[strata.order], strata.codes) for name, values in columns.items()}
    measures: dict[str, Wasserstein | MeanDiscrepancy] = {
        f"{name}_wasserstein": Wasserstein(values) for name, values in residuals.items()
    }
    discrepancy = _discrepancy(reference, now, strata)
    if discrepancy is not None:
        measures["embedding_mmd"] = discrepancy

    def scores(flags: Bools) -> Floats:
        numbers = as_numbers(flags)
        return np.stack([measure(numbers) for measure in measures.values()], axis=1)

    tested = compare_together(scores(strata.observed)[0], lambda count: scores(strata.draw(count, rng)), level=level)
    of_window = strata.observed[0]
    sides = {name: (values[~of_window], values[of_window]) for name, values in residuals.items()}
    return tested, sides, list(measures)


def _discrepancy(reference: Reference, now: Sequence[Row], strata: Strata) -> MeanDiscrepancy | None:
    """Of the vectors; None where there are none, or too few."""
    before, after = vectors_of(reference.rows), vectors_of(now)
    if before is None or after is None or before.shape[1] != after.shape[1] or not reference.width:
        return None
    features = random_features(np.concatenate([before, after]), reference.width, reference.version)
    return MeanDiscrepancy(features[strata.order], strata.codes)


def _templates(reference: Reference, window: Window) -> tuple[Score, float]:
    """The share of exchanges that matched no template.

    Counted are all that came; tested as if a sample of the size of the rows had, so that a busy task is not held to
    differences that nobody cares for.
    """
    p_value = more_often(*_sampled(window), *_sampled(reference))
    rate, usual = (side.mismatched / max(side.asked + side.mismatched, 1) for side in (window, reference))
    allowed = _least_surprising(window, reference)
    return Score("template_mismatch", rate, max(allowed, usual), p_value), p_value


def _sampled(side: Reference | Window) -> tuple[int, int]:
    total = side.asked + side.mismatched
    size = min(total, len(side.rows))
    return round(side.mismatched * size / total) if total else 0, size


def _least_surprising(window: Window, reference: Reference, pointwise: float = 0.01) -> float:
    """The rate that one window in a hundred passes without drift."""
    _, size = _sampled(window)
    before = _sampled(reference)
    low, high = 0, size
    while low < high:
        half = (low + high) // 2
        low, high = (low, half) if more_often(half, size, *before) <= pointwise else (half + 1, high)
    return low / max(size, 1)


def _scores(names: Sequence[str], tested: Tested) -> list[Score]:
    values = zip(names, tested.scores, tested.thresholds, tested.p_values, strict=True)
    return [Score(name, float(score), float(threshold), float(p)) for name, score, threshold, p in values]


def _mean_confidence(rows: Sequence[Row]) -> float:
    return float(np.mean([row.confidence for row in rows])) if rows else float("nan")
