"""What the parts `scale` and `scrape` of `benchmarks.monitoring` conclude, and that the traffic is what it says."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from benchmarks._monitoring_feed import FLOOR, MIN_CONFIDENCE, Feed, class_names
from benchmarks._monitoring_kills import Survival
from benchmarks._monitoring_scale import Pace, Sample, claims
from core.journal import Journal, stream_name
from core.records import Answerer, Comparison, Exchange, Kind, decode


def pace(per_second: float = 8_000.0, growth: float = 0.0, **values: Any) -> Pace:
    memory = [200.0] * 20 + [300.0] * 50 + [300.0 * (1 + growth)] * 30
    samples = [Sample(float(at), round(at * per_second), mib) for at, mib in enumerate(memory)]
    made = Pace(samples, 60.0, 1_000_000, shipped=100, counted=100, comparisons=9, compared=9, windows=3)
    return dataclasses.replace(made, **values)


def survival(**values: Any) -> Survival:
    counts = {"student": 95, "teacher": 5}
    return dataclasses.replace(Survival(3, counts, dict(counts), 9, 9, 0, 40), **values)


def verdicts(one: Pace, other: Survival | None, *, judged: bool = True) -> list[bool | None]:
    return [claim.holds for claim in claims(one, other, judged=judged)]


def test_a_run_that_does_all_it_should_holds():
    assert pace().per_second == pytest.approx(8_000)
    assert pace(growth=0.02).growth == pytest.approx(0.02)
    assert all(verdicts(pace(), survival()))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pace(4_900.0), survival()),
        (pace(growth=0.06), survival()),
        (pace(windows=0), survival()),
        (pace(counted=101), survival()),
        (pace(compared=8), survival()),
        (pace(), survival(exchanges={"student": 94, "teacher": 6})),
        (pace(), survival(compared=10)),
        (pace(), survival(duplicates=1)),
        (pace(), survival(from_archive=0)),
    ],
)
def test_whatever_is_amiss_does_not_hold(one, other):
    assert verdicts(one, other).count(False) == 1


def test_in_quick_only_miscounting_is_judged():
    assert verdicts(pace(10.0, growth=1.0), None, judged=False) == [None, None, None, True]
    assert verdicts(pace(counted=99), None, judged=False)[3] is False


async def test_the_feed_ships_what_it_counts(redis_url):
    journal, feed = Journal.connect(redis_url), Feed("desk", 20, seed=3)
    try:
        for _ in range(3):
            await feed.ship(journal, 400)
        found = {
            kind: [
                decode(payload)
                for entry in await journal.read(stream_name("desk", kind))
                for _, payload in entry.frames()
            ]
            for kind in (Kind.EXCHANGE, Kind.COMPARISON)
        }
    finally:
        await journal.close()
    exchanges = [record for record in found[Kind.EXCHANGE] if isinstance(record, Exchange)]
    comparisons = [record for record in found[Kind.COMPARISON] if isinstance(record, Comparison)]
    assert (len(exchanges), len(comparisons)) == (1_200, feed.truth.comparisons)
    assert feed.exchanges_until(feed.ends[stream_name("desk", Kind.EXCHANGE)]) == feed.truth.total == 1_200
    cascaded = {each.id for each in exchanges if each.answered_by is Answerer.TEACHER}
    assert len(cascaded) == feed.truth.exchanges["teacher"]
    assert cascaded == {each.id for each in exchanges if each.student and each.student.confidence < MIN_CONFIDENCE}
    drawn = {each.id for each in exchanges if each.shadow}
    assert {each.exchange for each in comparisons} == cascaded | drawn
    assert {each.probability for each in comparisons} == {1.0, FLOOR}
    assert {each.student.label for each in exchanges if each.student} == set(class_names(20))
    assert sum(each.agrees or 0 for each in comparisons) / len(comparisons) == pytest.approx(0.93, abs=0.1)
