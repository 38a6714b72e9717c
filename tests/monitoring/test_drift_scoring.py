"""Windows are scored one at a time in a process, and a task rests in between."""

from __future__ import annotations

import asyncio

from monitoring.drift.scoring import DriftScoring
from monitoring.drift.watch import DriftWatch
from tests.support.drift_world import Inputs

WINDOW = 100


def watched(inputs: Inputs, *, windows: int) -> DriftWatch:
    """A watch with a reference and a window that waits; those before it were skipped."""
    drift = DriftWatch()
    while drift.full is None or drift.skipped < windows - 1:
        exchange = inputs.exchange()
        assert exchange.student is not None
        drift.add(exchange, exchange.student, inputs.rules)
    return drift


async def until_scored(scoring: DriftScoring, drift: DriftWatch) -> None:
    async with asyncio.timeout(60):
        while not scoring.step(drift):  # noqa: ASYNC110 - as the reader does
            await asyncio.sleep(0.01)


async def test_tasks_wait_for_each_other_and_rest():
    inputs, turn = Inputs(4, drift_window=WINDOW), asyncio.Lock()
    one, two = (DriftScoring(name, inputs.rules, turn) for name in ("one", "two"))
    first, second = watched(inputs, windows=1), watched(inputs, windows=2)
    assert not one.step(first)
    assert first.full is None, "it is being scored"
    await asyncio.sleep(0.01)
    assert not two.step(second)
    assert second.full is not None, "it waits for its turn"
    await until_scored(one, first)
    assert first.windows == 1
    first.full = second.full
    assert not one.step(first)
    assert first.full is not None, "it rests"
    await until_scored(two, second)
    assert (second.windows, second.skipped) == (1, 1)


async def test_what_is_being_scored_at_the_end_is_waited_for():
    inputs = Inputs(4, drift_window=WINDOW)
    scoring, drift = DriftScoring("one", inputs.rules, asyncio.Lock()), watched(inputs, windows=1)
    scoring.step(drift)
    assert await scoring.stop(drift)
    assert drift.windows == 1
    assert not await scoring.stop(drift)
