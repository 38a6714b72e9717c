"""The ledger: alarms and snapshots."""

from __future__ import annotations

import threading
from dataclasses import replace

from core.ids import mint
from core.ledger import Alarm, AlarmState, Severity


def alarm(cause: str = "student_agreement", version: str = "1", at: float = 10.0) -> Alarm:
    return Alarm(
        id=mint("al"),
        task="desk",
        version=version,
        signal="student_agreement",
        cause=cause,
        severity=Severity.WARNING,
        opened=at,
        updated=at,
        cooldown=at + 60,
        retrain=True,
        labels=("refund", "other"),
        evidence={"baseline": 0.9, "classes": [{"label": "refund"}]},
        first_exchange="ex_1",
    )


def test_a_cause_has_one_open_alarm(ledger):
    first = ledger.alarms.raise_alarm(alarm())
    assert ledger.alarms.raise_alarm(alarm(at=20.0)) == first
    other = ledger.alarms.raise_alarm(alarm(version="2", at=30.0))
    third = ledger.alarms.raise_alarm(alarm(cause="input_drift", at=40.0))
    assert ledger.alarms.open("desk") == [first, other, third]
    assert ledger.alarms.open("elsewhere") == []
    assert ledger.alarms.get(first.id) == first
    assert ledger.alarms.get("al_none") is None


def test_an_alarm_is_acknowledged_and_resolved(ledger):
    first = ledger.alarms.raise_alarm(alarm())
    assert ledger.alarms.acknowledge(first.id, "seen", 11.0)
    assert ledger.alarms.open("desk")[0].state is AlarmState.ACKNOWLEDGED
    assert ledger.alarms.resolve(first.id, "retrained", 12.0)
    assert not ledger.alarms.resolve(first.id, "again", 13.0)
    assert not ledger.alarms.acknowledge(first.id, "again", 13.0)
    assert not ledger.alarms.update(replace(first, updated=14.0))
    assert ledger.alarms.open("desk") == []
    found = ledger.alarms.get(first.id)
    assert found is not None
    assert (found.state, found.note, found.resolved, found.updated) == (AlarmState.RESOLVED, "retrained", 12.0, 12.0)
    again = ledger.alarms.raise_alarm(alarm(at=50.0))
    assert again.id != first.id
    assert [one.id for one in ledger.alarms.newest("desk")] == [again.id, first.id]
    assert [one.id for one in ledger.alarms.newest(limit=1)] == [again.id]
    assert ledger.alarms.cooldown("desk", "1", "student_agreement") == 110.0
    assert ledger.alarms.cooldown("desk", "2", "student_agreement") == 0.0


def test_an_open_alarm_learns(ledger):
    first = ledger.alarms.raise_alarm(alarm())
    more = replace(first, labels=("refund",), severity=Severity.CRITICAL, evidence={"a": 1}, updated=20.0)
    assert ledger.alarms.update(more)
    assert ledger.alarms.get(first.id) == more


def test_several_that_raise_at_once_raise_one(ledger):
    found: list[Alarm] = []
    threads = [threading.Thread(target=lambda: found.append(ledger.alarms.raise_alarm(alarm()))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one.id for one in found}) == 1
    assert len(ledger.alarms.newest("desk")) == 1


def test_a_snapshot_is_replaced_by_who_knows_it(ledger):
    snapshots = ledger.snapshots
    assert snapshots.load("desk", "monitor") is None
    assert snapshots.save("desk", "monitor", after=0, position={"a": "1-0"}, state=b"one", at=1.0)
    assert not snapshots.save("desk", "monitor", after=0, position={}, state=b"late", at=2.0)
    assert snapshots.save("desk", "monitor", after=1, position={"a": "2-0"}, state=b"two", at=3.0)
    assert not snapshots.save("desk", "monitor", after=1, position={}, state=b"late", at=4.0)
    found = snapshots.load("desk", "monitor")
    assert found is not None
    assert (found.revision, found.position, found.state, found.at) == (2, {"a": "2-0"}, b"two", 3.0)
    assert snapshots.save("desk", "other", after=0, position={}, state=b"", at=5.0)
