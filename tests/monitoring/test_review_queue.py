"""From the stream into the review queue, and from a verdict back into the stream, on a real Redis."""

from __future__ import annotations

import msgspec
import pytest

from core.journal import Journal
from core.ledger import ReviewState, Right, Why
from core.records import Comparison, Exchange
from core.verdicts import carry_verdicts
from monitoring.feedback.state import FeedbackOutcome
from tests.support.monitoring_world import World
from tests.support.reading import Source, reading, until


@pytest.fixture
async def journal(redis_url):
    journal = Journal.connect(redis_url)
    yield journal
    await journal.close()


def disputed(world: World) -> tuple[Exchange, Comparison]:
    """An exchange of whose answer the student was sure, and a teacher that disagrees."""
    exchange, comparison = world.pair(drawn=True, label="c0")
    assert comparison is not None
    sure = msgspec.structs.replace(comparison.student, label="c0", confidence=0.98)
    comparison = msgspec.structs.replace(comparison, student=sure, teacher_label="c1", cluster=exchange.id)
    return msgspec.structs.replace(exchange, student=sure), comparison


async def test_a_sure_disagreement_is_judged_and_comes_back_as_feedback(redis_url, journal, ledger, world):
    pairs = [disputed(world) for _ in range(3)]
    await Source(journal).ship(*pairs)
    async with reading(redis_url, ledger) as reader:
        await until(lambda: len(ledger.reviews.find("desk")) == 3)
        await until(lambda: not reader.state.versions["1"].wrongness.waiting)
        found = ledger.reviews.find("desk")
        comparisons = [record for pair in pairs for record in pair if isinstance(record, Comparison)]
        assert {one.exchange for one in found} == {record.exchange for record in comparisons}
        assert ledger.reviews.judge(found[0].id, "c1", actor="cli:jo", at=1_750_000_000.0) is not None
        assert await carry_verdicts(ledger, journal) == 1
        counts = {
            (Why.DISAGREEMENT, ReviewState.NEW, None): 2,
            (Why.DISAGREEMENT, ReviewState.JUDGED, Right.TEACHER): 1,
        }
        await until(lambda: reader.reviews.counts == counts)
        await until(lambda: reader.state.feedback.outcomes == {FeedbackOutcome.REVIEWED: 1})
        ledger.forgotten.add(exchanges=[found[1].exchange])
        await until(lambda: len(ledger.reviews.find("desk")) == 1)
