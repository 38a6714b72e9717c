"""Drift of a window against the frozen reference: Evidently scores it, permutations say what score means something.

No fixed threshold fits: without any drift, PSI is about 0.5 for 1,000 exchanges of 335 classes. Under no drift it does
not matter which exchanges are called reference and which window, so the threshold is a quantile of the score over
random exchanges of the two at their actual sizes (permutation test, with the p-value of Phipson and Smyth, Stat. Appl.
Genet. Mol. Biol. 9, 2010). Resampling the reference alone would forget its own noise.

Signals: PSI and Jensen-Shannon distance of the student's labels, normed Wasserstein distance of confidence and of text
length. The numbers reported are Evidently's; the permutations repeat its formulas in numpy, since through Evidently a
thousand of them would take a minute. A test holds the two together.

Evidently is imported here, when a window is scored: it takes seconds and 280 MB.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from monitoring.drift_windows import Features, Score

PERMUTATIONS: Final = 999

_NUMBERS: Final = ("confidence", "length")

_Floats = NDArray[np.float64]
_Counts = NDArray[np.int64]


def score_window(reference: Sequence[Features], window: Sequence[Features], alpha: float, seed: int) -> list[Score]:
    """Compare a window with the reference: one score a signal, with the threshold that no drift passes with `alpha`.

    `alpha` is divided over the signals. Takes about a second; the first time, five more.
    """
    rng = np.random.default_rng(seed)
    numbers = _numbers(reference, window)
    nulls = {**_label_nulls(reference, window, rng), **{name: _wasserstein_null(*pair, rng) for name, pair in numbers}}
    scores = _evidently(reference, window, dict(numbers))
    return [
        Score(
            signal,
            scores[signal],
            float(np.quantile(null, 1 - alpha / len(nulls), method="higher")),
            float((1 + np.count_nonzero(null >= scores[signal] - 1e-12)) / (1 + len(null))),
        )
        for signal, null in nulls.items()
    ]


def _numbers(reference: Sequence[Features], window: Sequence[Features]) -> list[tuple[str, tuple[_Floats, _Floats]]]:
    """The numeric signals with their values; without lengths where these are not kept."""
    pairs = [(f"{name}_wasserstein", _column(reference, name), _column(window, name)) for name in _NUMBERS]
    return [(name, (a, b)) for name, a, b in pairs if (len(a), len(b)) == (len(reference), len(window))]


def _column(rows: Sequence[Features], name: str) -> _Floats:
    return np.array([value for row in rows if (value := getattr(row, name)) is not None], dtype=np.float64)


def _label_nulls(
    reference: Sequence[Features], window: Sequence[Features], rng: np.random.Generator
) -> dict[str, _Floats]:
    """The scores of the labels over random exchanges: only the counts matter, and these are hypergeometric."""
    _, codes = np.unique([row.label for row in (*reference, *window)], return_inverse=True)
    together = np.bincount(codes)
    now = rng.multivariate_hypergeometric(together, len(window), size=PERMUTATIONS, method="marginals")
    pairs = [(together - counts, counts) for counts in now]
    measures: dict[str, Callable[[_Counts, _Counts], float]] = {
        "label_psi": psi,
        "label_jensen_shannon": jensen_shannon,
    }
    return {name: np.array([measure(a, b) for a, b in pairs]) for name, measure in measures.items()}


def _wasserstein_null(before: _Floats, now: _Floats, rng: np.random.Generator) -> _Floats:
    """The score of a number over random exchanges."""
    together = np.sort(np.concatenate([before, now]))
    gaps = np.diff(together)
    size, found = len(now), np.empty(PERMUTATIONS)
    for i in range(PERMUTATIONS):
        in_window = np.zeros(len(together))
        in_window[rng.permutation(len(together))[:size]] = 1.0
        share = np.cumsum(in_window)[:-1] / size
        other = np.cumsum(1 - in_window)[:-1] / (len(together) - size)
        norm = max(float(np.std(together[in_window == 0])), 0.001)
        found[i] = float(np.abs(share - other) @ gaps) / norm
    return found


def psi(before: _Counts, now: _Counts) -> float:
    """Population stability index of counts by label, as Evidently has it: an empty label counts as 0.0001."""
    p, q = _filled(before / before.sum()), _filled(now / now.sum())
    return float(((p - q) * np.log(p / q)).sum())


def _filled(shares: _Floats) -> _Floats:
    least = shares[shares > 0].min()
    return np.where(shares == 0, least / 1e6 if least <= 1e-4 else 1e-4, shares)


def jensen_shannon(before: _Counts, now: _Counts) -> float:
    """Jensen-Shannon distance of counts by label: the root of the divergence, in nats."""
    p, q = before / before.sum(), now / now.sum()
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        left, right = (np.where(x > 0, x * np.log(x / middle), 0.0).sum() for x in (p, q))
    return float(np.sqrt(max((left + right) / 2, 0.0)))


def _evidently(
    reference: Sequence[Features], window: Sequence[Features], numbers: dict[str, tuple[_Floats, _Floats]]
) -> dict[str, float]:
    """The scores of two windows, from one Evidently report."""
    os.environ["DO_NOT_TRACK"] = "1"  # read when Evidently is imported
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own dependencies
        import pandas as pd
        from evidently import DataDefinition, Dataset, Report
        from evidently.metrics import ValueDrift

        columns = {name.removesuffix("_wasserstein"): name for name in numbers}
        definition = DataDefinition(numerical_columns=list(columns), categorical_columns=["label"])
        frames = [
            Dataset.from_pandas(
                pd.DataFrame(
                    {"label": [row.label for row in rows]}
                    | {column: numbers[name][side] for column, name in columns.items()}
                ),
                data_definition=definition,
            )
            for side, rows in ((1, window), (0, reference))
        ]
        metrics = [
            ValueDrift(column="label", method="psi"),
            ValueDrift(column="label", method="jensenshannon"),
            *(ValueDrift(column=column, method="wasserstein") for column in columns),
        ]
        found = Report(list(metrics)).run(*frames).dict()["metrics"]
    names = ["label_psi", "label_jensen_shannon", *columns.values()]
    return {name: float(metric["value"]) for name, metric in zip(names, found, strict=True)}
