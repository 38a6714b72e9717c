"""The scores as Evidently has them. Imported in there: Evidently takes seconds and 280 MB.

The permutations repeat its formulas in numpy, since through Evidently a thousand of them would take a minute; a test
holds the two together.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

from monitoring.drift.permutations import Floats
from monitoring.evidently_import import import_evidently

Sides = tuple[Sequence[str], Sequence[str]]


def scores(labels: Sides, numbers: Mapping[str, tuple[Floats, Floats]]) -> dict[str, float]:
    """The scores of labels and numbers, each given as (reference, window), by signal. About half a second."""
    import_evidently()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own dependencies
        import pandas as pd
        from evidently import DataDefinition, Dataset, Report
        from evidently.metrics import ValueDrift

        def run(
            columns: Sequence[Mapping[str, object]], definition: DataDefinition, metrics: list[ValueDrift]
        ) -> list[float]:
            before, now = (Dataset.from_pandas(pd.DataFrame(side), data_definition=definition) for side in columns)
            found = Report(list(metrics)).run(now, before).dict()["metrics"]
            return [float(metric["value"]) for metric in found]

        of_labels = run(
            [{"label": list(side)} for side in labels],
            DataDefinition(categorical_columns=["label"]),
            [ValueDrift(column="label", method=method) for method in ("psi", "jensenshannon")],
        )
        of_numbers = run(
            [{name: sides[i] for name, sides in numbers.items()} for i in range(2)],
            DataDefinition(numerical_columns=list(numbers)),
            [ValueDrift(column=name, method="wasserstein") for name in numbers],
        )
    found = dict(zip(("label_psi", "label_jensen_shannon"), of_labels, strict=True))
    return found | {f"{name}_wasserstein": value for name, value in zip(numbers, of_numbers, strict=True)}
