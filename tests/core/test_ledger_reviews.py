"""The review queue: bounded, spread over classes, without near-duplicates; verdicts; and what must go."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.ids import mint
from core.ledger import REVIEW_SOURCE, Ledger, Review, ReviewState, Right, Why
from core.ledger.review import spread

NOON = 1_750_000_000.0


def entry(**values: Any) -> Review:
    given: dict[str, Any] = {
        "id": mint("rv"),
        "task": "desk",
        "exchange": mint(),
        "why": Why.DISAGREEMENT,
        "version": "1",
        "student": "refund",
        "teacher": "order",
        "confidence": 0.95,
        "teacher_confidence": 0.9,
        "probability": 0.0,
        "drawn_from": 0.0,
        "cluster": "",
        "text": "where is my money",
        "created": NOON,
    }
    return Review(**given | values)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 1)), max_size=30), st.integers(0, 12))
def test_the_surest_of_each_class_come_first(answers, most):
    entries = [entry(student=label, confidence=sure) for label, sure in answers]
    chosen = spread(entries, most)
    assert len(chosen) == min(most, len(entries))
    kept = {one.id for one in chosen}
    for label in "abc":
        mine = sorted((one.confidence for one in entries if one.student == label), reverse=True)
        mine_kept = [one.confidence for one in chosen if one.student == label]
        assert sorted(mine_kept, reverse=True) == mine[: len(mine_kept)]
    left = {one.student for one in entries if one.id not in kept}
    if left:  # no class that had more to offer has fewer than another by more than one
        sizes = [sum(one.student == label for one in chosen) for label in left]
        assert max(sum(one.student == label for one in chosen) for label in "abc") <= min(sizes) + 1


def test_the_queue_is_bounded_and_keeps_the_worst(ledger: Ledger):
    first = [entry(student="refund", confidence=0.8 + i / 100, exchange=f"ex_{i}") for i in range(10)]
    assert ledger.reviews.offer("desk", first, most=4) == 4
    assert [one.exchange for one in ledger.reviews.find("desk")] == ["ex_9", "ex_8", "ex_7", "ex_6"]
    other = [entry(student="order", confidence=0.81), entry(student="order", confidence=0.80)]
    assert ledger.reviews.offer("desk", other, most=4) == 2
    assert [one.student for one in ledger.reviews.find("desk")] == ["refund", "refund", "order", "order"]
    assert ledger.reviews.offer("desk", [entry(confidence=0.5)], most=4) == 0
    assert ledger.reviews.offer("mail", [entry(task="mail", confidence=0.5)], most=4) == 1
    assert [len(ledger.reviews.find(limit=limit)) for limit in (2, None)] == [2, 5]


def test_an_exchange_or_a_near_duplicate_is_there_once(ledger: Ledger):
    one = entry(cluster="aa")
    assert ledger.reviews.offer("desk", [one, entry(cluster="aa", confidence=0.9), entry(cluster="bb")], most=10) == 2
    again = [entry(exchange=one.exchange), entry(cluster="aa"), entry(cluster="aa", why=Why.RED_TEAM)]
    assert ledger.reviews.offer("desk", again[:2], most=10) == 0
    assert ledger.reviews.add(again) == 0
    assert ledger.reviews.judge(one.id, "refund", actor="cli:jo", at=NOON) is not None
    assert ledger.reviews.offer("desk", again[:2], most=10) == 0
    assert ledger.reviews.add([entry(task="mail", cluster="aa"), entry(cluster="cc", why=Why.RED_TEAM)]) == 2
    assert ledger.reviews.known("desk")[1] == {"aa", "bb", "cc"}


@pytest.mark.parametrize(
    ("verdict", "both", "right"),
    [
        ("refund", False, Right.STUDENT),
        ("order", False, Right.TEACHER),
        ("spam", False, Right.NEITHER),
        ("order", True, Right.BOTH),
    ],
)
def test_a_verdict_becomes_feedback_and_is_audited(ledger: Ledger, verdict, both, right):
    one = entry()
    ledger.reviews.offer("desk", [one], most=10)
    judged = ledger.reviews.judge(one.id, verdict, both=both, actor="cli:jo", note="sure", at=NOON + 1)
    assert judged is not None
    assert (judged.state, judged.right, judged.verdict) == (ReviewState.JUDGED, right, verdict)
    assert ledger.reviews.get(one.id) == judged
    assert ledger.reviews.judge(one.id, "spam", actor="cli:jo", at=NOON) is None
    assert not ledger.reviews.skip(one.id, actor="cli:jo", at=NOON)
    assert ledger.reviews.find("desk") == []
    ((sequence, feedback),) = ledger.reviews.outbox(0)
    assert (feedback.exchange, feedback.label, feedback.comment) == (one.exchange, verdict, "sure")
    assert (feedback.source, feedback.at, feedback.id) == (REVIEW_SOURCE, NOON + 1, judged.feedback)
    assert ledger.reviews.outbox(sequence) == []
    (audit,) = ledger.audit_trail("desk")
    assert (audit.actor, audit.action, audit.detail["right"]) == ("cli:jo", "judge_review", right.value)
    assert one.exchange not in str(audit.detail)
    assert ledger.reviews.counts("desk") == {(Why.DISAGREEMENT, ReviewState.JUDGED, right): 1}


def test_what_both_say_may_be_right_or_wrong():
    agreed = entry(why=Why.RED_TEAM, student="order", teacher="order")
    alone = entry(why=Why.RED_TEAM, student="", version="")
    assert [one.who_is_right("order") for one in (agreed, alone)] == [Right.BOTH, Right.TEACHER]
    assert [one.who_is_right("spam") for one in (agreed, alone)] == [Right.NEITHER, Right.NEITHER]


def test_a_skipped_one_may_be_judged_later_and_the_oldest_go(ledger: Ledger):
    entries = [entry() for _ in range(3)]
    ledger.reviews.offer("desk", entries, most=3)
    for number, one in enumerate(entries):
        assert ledger.reviews.skip(one.id, actor="cli:jo", at=NOON + number)
    assert not ledger.reviews.skip(entries[0].id, actor="cli:jo", at=NOON)
    assert len(ledger.reviews.find("desk", states=[ReviewState.SKIPPED])) == 3
    assert ledger.reviews.judge(entries[2].id, "refund", actor="cli:jo", at=NOON) is not None
    ledger.reviews.offer("desk", [], most=1)
    assert [one.id for one in ledger.reviews.find("desk", states=[ReviewState.SKIPPED])] == [entries[1].id]


def test_the_outbox_rises_whatever_the_clock_does_and_whatever_goes(ledger: Ledger):
    entries = [entry() for _ in range(4)]
    ledger.reviews.offer("desk", entries, most=10)
    numbers = []
    for one, at in zip(entries, (NOON, NOON, NOON - 100, NOON + 50), strict=True):
        judged = ledger.reviews.judge(one.id, "refund", actor="cli:jo", at=at)
        assert judged is not None
        numbers.append(judged.sequence)
        assert ledger.reviews.drop(judged.exchange.__eq__) == 1
    base = round(NOON * 1000)
    assert numbers == [base, base + 1, base + 2, base + 50_000]
    assert ledger.reviews.outbox(0) == []


def test_several_people_judge_at_once(ledger: Ledger):
    entries = [entry() for _ in range(12)]
    ledger.reviews.offer("desk", entries, most=20)
    won: list[str] = []

    def judge(actor: str) -> None:
        judged = (ledger.reviews.judge(one.id, "refund", actor=actor, at=NOON) for one in entries)
        won.extend(one.id for one in judged if one is not None)

    threads = [threading.Thread(target=judge, args=(f"cli:{name}",)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == sorted(one.id for one in entries)
    sequences = [sequence for sequence, _ in ledger.reviews.outbox(0)]
    assert len(set(sequences)) == len(sequences) == 12


def test_what_must_go_goes_judged_or_not(tmp_path, ledger: Ledger):
    entries = [entry(text="a secret", task=task) for task in ("desk", "desk", "mail")]
    assert ledger.reviews.add(entries) == 3
    ledger.reviews.judge(entries[0].id, "order", actor="cli:jo", note="the secret's", at=NOON)
    gone = {entries[0].exchange, entries[2].exchange}
    assert ledger.reviews.drop(gone.__contains__, "desk") == 1
    assert ledger.reviews.drop(gone.__contains__) == 1
    assert [one.id for one in ledger.reviews.find()] == [entries[1].id]
    assert ledger.reviews.drop(lambda _: True) == 1
    assert ledger.purge()
    assert b"secret" not in (tmp_path / "ledger.db").read_bytes().replace(b"_secret", b"")


def test_a_text_that_no_database_can_hold_is_stored_without_that(ledger: Ledger):
    one = entry(text="a\0b\ud800c")
    ledger.reviews.add([one])
    judged = ledger.reviews.judge(one.id, "refund", actor="cli:jo", note="\udfff", at=NOON)
    assert judged is not None
    assert (judged.text, judged.note) == ("a\N{REPLACEMENT CHARACTER}b?c", "?")
