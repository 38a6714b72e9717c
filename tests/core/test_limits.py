"""Limits as settings and records, and what the ledger keeps of spending."""

from __future__ import annotations

import threading

import msgspec
import pytest
from pydantic import ValidationError

from core.ledger import Spend
from core.limits import NO_LIMITS, Limits
from core.settings import LimitSettings


@pytest.mark.parametrize(
    "wrong",
    [
        {"requests_per_minute": 0},
        {"tokens_per_minute": -1},
        {"dollars_per_day": -0.01},
        {"dollars_per_month": float("nan")},
    ],
)
def test_what_cannot_be_kept_is_refused(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
        Limits(**wrong)


def test_records_with_impossible_limits_are_not_read():
    with pytest.raises(msgspec.ValidationError, match="at least 1"):
        msgspec.json.decode(b'{"requests_per_minute": 0}', type=Limits)
    with pytest.raises(ValidationError):
        LimitSettings(requests_per_minute=0)


def test_settings_become_limits():
    assert LimitSettings().limits() == NO_LIMITS == Limits()
    settings = LimitSettings(requests_per_minute=60, tokens_per_minute=90_000, dollars_per_day=5, dollars_per_month=50)
    assert settings.limits() == Limits(60, 90_000, 5.0, 50.0)


def day(known: float, more: float = 0.0, scope: str = "key:a", ends: float = 100.0) -> Spend:
    return Spend(scope, "2026-03-01", ends, known, more)


def test_a_sum_is_raised_and_added_to_but_never_lowered(ledger):
    assert ledger.spend.book([day(1.0, 0.5), day(7.0, scope="task:desk")]) == [1.5, 7.0]
    assert ledger.spend.book([day(0.0, 0.25)]) == [1.75]
    assert ledger.spend.book([day(5.0, 0.25)]) == [5.25]
    assert ledger.spend.book([day(2.0)]) == [5.25]
    assert ledger.spend.current(99.0) == {("key:a", "2026-03-01"): 5.25, ("task:desk", "2026-03-01"): 7.0}
    assert ledger.spend.book([]) == []


def test_periods_that_are_over_are_not_current_and_go_after_forty_days(ledger):
    ledger.spend.book([day(1.0, ends=100.0)])
    assert ledger.spend.current(100.0) == {}
    ledger.spend.forget(100.0 + 39 * 86_400)
    assert ledger.spend.current(0.0) != {}
    ledger.spend.forget(101.0 + 40 * 86_400)
    assert ledger.spend.current(0.0) == {}


def test_workers_that_write_at_once_lose_nothing(ledger):
    def write() -> None:
        for _ in range(20):
            ledger.spend.book([day(0.0, 1.0), day(0.0, 1.0, scope="task:desk")])

    threads = [threading.Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(ledger.spend.current(0.0).values()) == {60.0}


def test_many_sums_are_written_in_one_go(ledger):
    sums = ledger.spend.book([day(float(number), scope=f"key:{number}") for number in range(450)])
    assert sums == [float(number) for number in range(450)]
