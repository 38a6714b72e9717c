"""Thresholds and canaries in the ledger."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from sqlalchemy import create_engine, text

from core.ledger import Canary, Threshold
from core.ledger.tables import SCHEMA


def test_a_version_has_one_threshold_or_none(ledger):
    first = Threshold("desk", "2", 0.81, 0.95, "190 of 194", 5.0)
    ledger.thresholds.replace("desk", "2", first)
    ledger.thresholds.replace("desk", "3", replace(first, version="3", confidence=None))
    ledger.thresholds.replace("other", "2", replace(first, task="other", confidence=0.5))
    assert ledger.thresholds.get("desk", "2") == first
    assert ledger.thresholds.confidences("desk") == {"2": 0.81, "3": math.inf}
    ledger.thresholds.replace("desk", "2", replace(first, confidence=0.9))
    assert ledger.thresholds.confidences("desk")["2"] == 0.9
    ledger.thresholds.replace("desk", "2", None)
    assert ledger.thresholds.get("desk", "2") is None
    assert ledger.thresholds.confidences("other") == {"2": 0.5}
    with pytest.raises(ValueError, match="not about desk 4"):
        ledger.thresholds.replace("desk", "4", first)


def test_a_task_has_one_canary(ledger):
    first = Canary("desk", "2", 0.05, 100.0)
    assert ledger.canaries.all() == {}
    assert ledger.canaries.begin(first) == first
    assert ledger.canaries.begin(replace(first, share=0.5, at=200.0)) == first, "what stands, stands"
    second = replace(first, version="3", at=300.0)
    assert ledger.canaries.begin(second) == second
    assert ledger.canaries.all() == {"desk": second}
    assert not ledger.canaries.end("desk", "2")
    assert ledger.canaries.end("desk", "3")
    assert not ledger.canaries.end("desk")
    assert ledger.canaries.get("desk") is None


def test_an_older_ledger_has_them_too(ledger, tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path}/ledger.db")
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE thresholds"))
        connection.execute(text("DROP TABLE canaries"))
        connection.execute(text("UPDATE meta SET value = '2' WHERE key = 'schema'"))
    ledger.migrate()
    assert ledger.thresholds.confidences("desk") == {}
    assert ledger.canaries.all() == {}
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT value FROM meta WHERE key = 'schema'")) == str(SCHEMA)
    engine.dispose()
