"""The monitor while a challenger has a share: versions are not mixed, and what clients receive is counted whole."""

from __future__ import annotations

import msgspec
import pytest

from core.records import Answerer, Reason
from monitoring.rules import rules_of
from monitoring.state import TaskState
from tests.support.monitoring_world import LABELS, World, task_settings, trust_rows

RULES = rules_of(task_settings())


class Watch:
    """The records of a champion and of its challenger, taken as the reader does."""

    def __init__(self) -> None:
        self.state = TaskState("desk")
        self.champion, self.challenger = World(seed=1), World(seed=2, version="2")

    def take(self, record) -> None:
        version = self.state.unknown_version(record)
        if version is not None:
            self.state.begin(version, RULES, {row.label: row for row in trust_rows(version)})
        if hasattr(record, "answered_by"):
            self.state.observe_exchange(record, RULES)
        else:
            self.state.observe(record, RULES)

    def run(self, count: int, world: World) -> None:
        for _ in range(count):
            exchange, comparison = world.pair(drawn=True)
            if world is self.challenger:
                reason = Reason.CHALLENGER if exchange.reason is Reason.CHAMPION else exchange.reason
                exchange = msgspec.structs.replace(exchange, reason=reason, canary="2")
            self.take(exchange)
            self.take(comparison)


@pytest.fixture
def watch():
    return Watch()


def test_student_agreement_is_each_versions_own(watch):
    watch.challenger.agreement = dict.fromkeys(LABELS, 0.2)
    watch.run(100, watch.champion)
    for _ in range(30):
        watch.run(10, watch.champion)
        watch.run(5, watch.challenger)
    champion, challenger = watch.state.versions["1"], watch.state.versions["2"]
    assert watch.state.champion == "1"
    assert (champion.number, challenger.number) == (400, 150)
    assert champion.student.whole.estimate == pytest.approx(0.93, abs=0.04)
    assert challenger.student.whole.estimate == pytest.approx(0.2, abs=0.1)


def test_served_agreement_counts_what_both_gave(watch):
    watch.champion.agreement = dict.fromkeys(LABELS, 1.0)
    watch.challenger.agreement = dict.fromkeys(LABELS, 0.0)
    watch.run(300, watch.champion)
    watch.run(100, watch.challenger)
    watched = watch.state.watched
    assert watched.version == "1"
    assert watched.student.whole.estimate == 1.0
    assert watched.served.whole.count == 400
    assert watched.served.whole.estimate == pytest.approx(0.75)


def test_answers_to_its_share_never_make_it_champion(watch):
    """Also those that it is not trusted with, or that it does not give: their reason is not `challenger`."""
    watch.run(5, watch.champion)
    watch.challenger.untrusted = set(LABELS)
    watch.run(20, watch.challenger)
    assert watch.state.champion == "1"
    assert watch.state.challenger == "2"
    assert watch.state.exchanges == {"student": 5, "teacher": 20}
    exchange, _ = watch.challenger.pair(drawn=False)
    failed = msgspec.structs.replace(
        exchange, reason=Reason.RETRY_FALLBACK, answered_by=Answerer.TEACHER, student=None, canary="2"
    )
    watch.take(failed)
    assert watch.state.champion == "1"


def test_once_promoted_it_goes_on_with_its_own_statistics(watch):
    watch.run(200, watch.champion)
    watch.run(50, watch.challenger)
    for _ in range(10):
        exchange, comparison = watch.challenger.pair(drawn=True)
        watch.take(exchange)
        watch.take(comparison)
    assert watch.state.champion == "2"
    assert watch.state.watched.number == 60
    assert watch.state.watched.served.whole.count == 60
    watch.take(watch.champion.pair(drawn=True)[1])  # a late comparison of the one before
    assert watch.state.watched.served.whole.count == 60


def test_a_state_of_before_is_read(watch):
    watch.run(20, watch.champion)
    stored = msgspec.msgpack.decode(msgspec.msgpack.encode(watch.state))
    del stored["challenger"]
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(stored), type=TaskState).challenger == ""
