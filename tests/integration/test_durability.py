"""Sent and answered is archived, exactly once, whatever happens meanwhile."""

import pytest

from tests.integration.conftest import House
from tests.integration.load import send

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


def test_twenty_thousand_requests_with_a_swap_in_the_middle(house: House):
    first = house.promote_new_version()
    house.wait_until(lambda: house.served_version() == first)
    outcome = send(house.url, 20_000, midway=lambda: _swap(house))
    assert outcome.failed == []
    assert len(outcome.answered) == 20_000
    assert outcome.versions["1"] > 1_000, "the first version answered before the swap"
    assert outcome.versions["2"] > 1_000, "the second one after it"
    assert outcome.reasons["champion"] >= 14_000
    assert len(house.teacher.requests) == 20_000 - outcome.reasons["champion"]
    _assert_archived_once(house, outcome.answered)
    assert sorted(house.archived_ids()) == sorted(outcome.answered), "nothing more than what was answered"
    house.wait_until(lambda: len(list(house.settings.log_folder.glob("*/*.log"))) <= 1)


def test_a_killed_worker_loses_no_answered_request(house: House):
    version = house.promote_new_version()
    house.wait_until(lambda: house.served_version() == version)
    outcome = send(house.url, 6_000, midway=house.kill_worker)
    assert 0 < len(outcome.failed) <= 48, "only what was under way, at most one more each"
    assert len(outcome.answered) + len(outcome.failed) == 6_000
    _assert_archived_once(house, outcome.answered)


def test_an_emptied_redis_loses_and_doubles_nothing(house: House):
    version = house.promote_new_version()
    house.wait_until(lambda: house.served_version() == version)
    outcome = send(house.url, 6_000, midway=house.restart_redis_empty)
    assert outcome.failed == []
    _assert_archived_once(house, outcome.answered)


def _swap(house: House) -> None:
    second = house.promote_new_version()
    house.wait_until(lambda: house.served_version() == second)


def _assert_archived_once(house: House, answered: list[str]) -> None:
    assert len(set(answered)) == len(answered)
    house.wait_until_archived(set(answered))
    archived = house.archived_ids()
    assert len(archived) == len(set(archived))
