"""What the benchmark of the monitor computes for many streams at once is what the product computes for each."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from benchmarks import _monitoring_traffic as traffic
from benchmarks._monitoring_plain import windows
from benchmarks._monitoring_vectorised import Coverage, Detectors, Levels
from core.ledger import Trust
from core.records import Answerer, Comparison, Outcome, StudentAnswer
from monitoring.statistics.confidence import lower_limit, upper_limit
from monitoring.statistics.weights import WeightedMean
from monitoring.version import begin

TIMES, STREAMS = 700, 3


@pytest.fixture(params=["sampled", "bursts"])
def stream(request) -> traffic.Traffic:
    rng = np.random.default_rng(2)
    if request.param == "sampled":
        return traffic.sampled(rng, TIMES, STREAMS)
    return traffic.bursts(rng, TIMES, STREAMS, 5)


def comparison(number: int, label: int, agrees: bool, probability: float, cluster: str) -> Comparison:
    student = StudentAnswer("1", traffic.LABELS[label], 0.9, "set")
    teacher = student.label if agrees else "another"
    name, at = f"ex_{number}", float(number)
    return Comparison(
        name, "desk", name, at, at, Outcome.ANSWERED, probability, Answerer.STUDENT, student, teacher, cluster=cluster
    )


def test_detectors_and_levels_are_the_products(stream):
    rules = replace(traffic.rules(), lowest_probability=0.1, student_limit=float("inf"))
    known = traffic.validate(np.random.default_rng(1), traffic.class_agreements(differ=True), STREAMS, rules)
    versions = [
        begin(
            "1",
            rules,
            {name: Trust("desk", "1", name, True, share, int(size), "", 0.0) for name, (size, share) in one.items()},
        )
        for one in known.validated
    ]
    student, level, classes = Detectors(STREAMS), Levels(STREAMS), Detectors(STREAMS, traffic.CLASSES)
    weights = np.ones(1) if stream.weights is None else stream.weights
    rows = np.arange(STREAMS)
    for time in range(TIMES):
        label, agrees = stream.labels[time].astype(int), stream.agrees[time]
        counts = None if stream.counts is None else stream.counts[time]
        weight = np.ones(STREAMS) if stream.kinds is None else weights[stream.kinds[time]]
        expected = level.step(known.strata[rows, label], agrees, weight, counts)
        values = student.step(agrees, weight, expected, counts=counts)
        of_class = classes.step(agrees, weight, known.baselines[rows, label], label, counts)
        for row, version in enumerate(versions):
            if counts is None or counts[row]:
                version.observe(comparison(time, label[row], bool(agrees[row]), 0.1 / float(weight[row]), ""), rules)
            assert version.detector.value == pytest.approx(values[row], rel=1e-9)
            if version.number:
                detector = version.class_detectors.get(traffic.LABELS[label[row]])
                assert (0.0 if detector is None else detector.value) == pytest.approx(of_class[row], rel=1e-9)


def test_the_product_counts_a_burst_once():
    stream = traffic.bursts(np.random.default_rng(2), TIMES, STREAMS, 10)
    assert stream.counts is not None
    rules = traffic.rules()
    for row in range(STREAMS):
        version = begin("1", rules, {})
        clusters = np.cumsum(stream.counts[:, row])  # a copy follows what it is a copy of
        for time in range(TIMES):
            one = comparison(
                time, int(stream.labels[time, row]), bool(stream.agrees[time, row]), 1.0, str(clusters[time])
            )
            assert version.observe(one, rules) is bool(stream.counts[time, row])
        assert 20 < version.bursts < 200


@pytest.mark.parametrize("truth", [0.6, 0.93])
def test_coverage_is_the_confidence_sequences(truth):
    rng, streams, alpha = np.random.default_rng(5), 6, 0.5
    weights = np.array([1.0, 0.625, 0.2])
    kinds, agrees = rng.integers(0, 3, (150, streams)), rng.random((150, streams)) < 0.8
    coverage, means = Coverage(streams, weights, truth, alpha), [WeightedMean() for _ in range(streams)]
    covered = np.ones(streams, dtype=bool)
    for kind, agree in zip(kinds, agrees, strict=True):
        coverage.step(kind, agree)
        for row, mean in enumerate(means):
            mean.add(bool(agree[row]), float(weights[kind[row]]))
            covered[row] &= lower_limit(mean, alpha / 2) <= truth <= upper_limit(mean, alpha / 2)
        assert (coverage.covered == covered).all()
    assert not covered.all()


def test_windows_are_compared_as_evidently_does(monkeypatch):
    monkeypatch.setenv("DO_NOT_TRACK", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its imports are full of deprecated ones
        from evidently.legacy.calculations.stattests import z_stat_test
        from evidently.legacy.core import ColumnType

    agrees = np.random.default_rng(3).random((3_000, 2)) < 0.9
    _, scores = windows(agrees, 1_000)
    for window in range(2):
        for row in range(2):
            reference, current = (
                pd.Series(agrees[begin : begin + 1_000, row].astype(int)) for begin in (0, 1_000 * (window + 1))
            )
            found = z_stat_test(reference, current, ColumnType.Categorical, 0.05)
            assert found.drifted == (abs(scores[window, row]) > 1.959964)
