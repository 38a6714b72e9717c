"""What the monitor must forget goes out of its state and its alarms; its numbers stay."""

from __future__ import annotations

import numpy as np
import pytest

from core.ids import mint
from core.ledger import Alarm, Ledger, Severity
from core.records import Comparison
from monitoring.forgetting import Forgetting, forget_in_snapshot
from monitoring.rules import rules_of
from monitoring.snapshot import NAME, encode_state, read_snapshot
from monitoring.state import TaskState
from tests.support.monitoring_world import NOON, World, task_settings, trust_rows

RULES = rules_of(task_settings(review_queue=0))


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    ledger.migrate()
    yield ledger
    ledger.close()


def watched(count: int = 12) -> tuple[TaskState, list[Comparison]]:
    """A state that has seen disagreements alone, and what it has seen."""
    world, state = World(), TaskState("desk", champion="1")
    world.agreement = dict.fromkeys(world.agreement, 0.0)
    state.begin("1", RULES, {row.label: row for row in trust_rows()})
    seen = [found for _ in range(count) if (found := world.pair(drawn=True)[1]) is not None]
    for comparison in seen:
        state.observe(comparison, RULES)
    return state, seen


def alarm(*exchanges: str) -> Alarm:
    return Alarm(
        mint("al"),
        "desk",
        "1",
        "student_agreement",
        "student_agreement",
        Severity.WARNING,
        NOON,
        NOON,
        NOON,
        retrain=True,
        labels=("c1",),
        evidence={"baseline": 0.9, "examples": [{"exchange": name, "text": "secret"} for name in exchanges]},
        first_exchange="",
    )


def test_examples_go_and_numbers_stay(ledger):
    state, seen = watched()
    gone, kept = seen[0].exchange, seen[1].exchange
    raised = ledger.alarms.raise_alarm(alarm(gone, kept))
    forgetting = Forgetting("desk", ledger, None)
    assert not forgetting.is_due(NOON)
    ledger.forgotten.add(exchanges=[gone])
    assert forgetting.is_due(NOON)
    assert forgetting.forget(state, NOON) == 2
    assert not forgetting.is_due(NOON)
    version = state.versions["1"]
    assert gone not in {example.exchange for example in version.examples}
    assert (version.number, len(version.examples), len(version.trail)) == (12, 11, 12)
    found = ledger.alarms.get(raised.id)
    assert found is not None
    assert found.evidence == {"baseline": 0.9, "examples": [{"exchange": kept, "text": "secret"}]}
    assert found.updated == raised.updated


def test_what_comes_later_is_counted_without_its_text(ledger):
    _, seen = watched(1)
    ledger.forgotten.add(exchanges=[seen[0].exchange])
    forgetting = Forgetting("desk", ledger, None)
    forgetting.is_due(NOON)
    emptied = forgetting.emptied(seen[0])
    assert isinstance(emptied, Comparison)
    assert (emptied.text, emptied.agrees) == (None, seen[0].agrees)
    other = World(seed=3).pair(drawn=True)[0]
    assert forgetting.emptied(other) is other


def test_retention_takes_examples_that_are_too_old(ledger):
    state, seen = watched(3)
    now = NOON + 1e9  # ids were minted today, that is long before
    forgetting = Forgetting("desk", ledger, 30)
    assert forgetting.is_due(now)
    assert forgetting.forget(state, now) == 3
    assert not forgetting.is_due(now + 10)
    assert forgetting.is_due(now + 3601)
    assert state.versions["1"].number == len(seen)


def test_a_stored_state_is_cleared_and_a_live_monitor_notices(ledger):
    state, seen = watched()
    assert ledger.snapshots.save("desk", NAME, after=0, position={"x": 1}, state=encode_state(state), at=NOON)
    gone = {seen[0].exchange, seen[5].exchange}
    assert forget_in_snapshot(ledger, "desk", gone.__contains__) == 2
    assert forget_in_snapshot(ledger, "desk", gone.__contains__) == 0
    assert forget_in_snapshot(ledger, "another", gone.__contains__) == 0
    found = read_snapshot(ledger, "desk")
    assert found is not None
    assert np.all([example.exchange not in gone for example in found[0].versions["1"].examples])
    stored = ledger.snapshots.load("desk", NAME)
    assert stored is not None
    assert stored.position == {"x": 1}
    assert not ledger.snapshots.save("desk", NAME, after=1, position={}, state=b"", at=NOON)
