"""What `benchmarks.journal` concludes from what it measured."""

from __future__ import annotations

import pytest

from benchmarks._journal_parts import Cost, Pace, make_exchange, request_path_cost
from benchmarks._journal_sustained import Run
from benchmarks.journal import claim, is_sustained
from core.records import decode, encode

CPU = {"shipper": 4.0, "redis": 3.0, "archiver": 13.0}
COST = Cost(10, 640.0, 1.0, 3.0, 2.0)
PACE = Pace(100_000.0, 3.0)


def run(rate: float = 15_000.0, **values) -> Run:
    made = Run(rate, 10.0, int(rate * 10), int(rate * 10), int(rate * 10), [(9.0, 15_000)], 1.0, CPU)
    for name, value in values.items():
        setattr(made, name, value)
    return made


def verdicts(runs: list[Run], *, judged: bool = True) -> list[bool | None]:
    return [each.holds for each in claim([COST], PACE, PACE, runs, judged=judged)]


def test_everything_that_keeps_up_holds():
    assert is_sustained(run())
    assert all(verdicts([run(), run(20_000.0)]))


@pytest.mark.parametrize(
    "fault",
    [{"behind": [(9.0, 150_000)]}, {"drained_seconds": 20.0}, {"written": 100_000}, {"behind": [(6.0, 80_000)]}],
)
def test_a_rate_at_which_anything_lags_is_not_sustained(fault):
    assert not is_sustained(run(**fault))
    assert False in verdicts([run(**fault)])


def test_what_is_lost_or_doubled_is_judged_in_quick_too():
    assert verdicts([run()], judged=False)[:2] == [True, True]
    assert verdicts([run(archived=149_999)], judged=False)[0] is False
    assert verdicts([run(distinct=149_999)], judged=False)[0] is False
    assert verdicts([run(archived=150_001)], judged=False)[1] is False


def test_recording_is_timed_on_typical_records(tmp_path):
    exchange = make_exchange(7, 77)
    assert exchange.student is not None
    assert len(exchange.student.distribution) == 2 * 77
    assert decode(encode(exchange)) == exchange
    cost = request_path_cost(tmp_path, 77, rounds=1)
    assert 500 < cost.record_bytes < 1000
    assert 0 < cost.encode_us < 1000
    assert cost.append_us > 0
