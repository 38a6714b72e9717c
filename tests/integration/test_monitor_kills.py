"""A monitor that is killed at random moments under load, while its streams are trimmed: every exchange counts once."""

from __future__ import annotations

from benchmarks._monitoring_kills import survive


def test_a_monitor_that_is_killed_again_and_again_counts_every_exchange_once(tmp_path):
    found = survive(tmp_path / "house", classes=20, kills=4, rate=1500.0, seed=5, say=print)
    assert found.wrong == 0, found
    assert found.comparisons > 200
    assert found.from_archive > 0, "nothing was trimmed before it was read: the test shows too little"
