from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from core.ledger import GoldenExample, GoldenSet, Ledger
from core.ledger.golden import ROUNDS_KEPT

SET = GoldenSet("desk", 1, "traffic", "t", "", 100.0)
EXAMPLES = [GoldenExample(n, f"text {n}", "", f"ex_{n}") for n in range(4)]


@pytest.fixture
def ledger(tmp_path) -> Iterator[Ledger]:
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    ledger.migrate()
    yield ledger
    ledger.close()


def test_a_set_is_frozen_once_and_replaces_the_one_before(ledger):
    golden = ledger.golden
    assert golden.newest("desk") is None
    assert golden.freeze(SET, EXAMPLES)
    assert not golden.freeze(replace(SET, teacher="another"), EXAMPLES[:1]), "somebody was faster"
    assert golden.newest("desk") == SET
    assert golden.examples("desk", 1) == EXAMPLES
    assert golden.newest("other") is None
    golden.begin_round("desk", 1, "a", 1.0)
    second = replace(SET, number=2, source="files", texts="x")
    assert golden.freeze(second, EXAMPLES[:2])
    assert golden.newest("desk") == second
    assert golden.examples("desk", 1) == []
    assert golden.last_round("desk", 1) is None


def test_one_worker_asks_a_round_and_another_goes_on_with_it(ledger):
    golden = ledger.golden
    golden.freeze(SET, EXAMPLES)
    first = golden.begin_round("desk", 1, "a", 10.0)
    assert first is not None
    assert first.number == 0
    assert golden.save_round(replace(first, answers={0: "x", 1: ""}, cost_usd=0.5))
    taken = golden.begin_round("desk", 1, "b", 20.0)
    assert taken is not None
    assert (taken.number, taken.owner, taken.started) == (0, "b", 10.0)
    assert taken.answers == {0: "x", 1: ""}
    assert not golden.save_round(replace(first, answers={0: "late"})), "it is another's by now"
    assert golden.rounds("desk", 1) == []
    done = replace(taken, answers={0: "x", 1: "", 2: "y"}, finished=30.0, cost_usd=0.7)
    assert golden.save_round(done)
    assert golden.rounds("desk", 1) == [done]
    assert not golden.save_round(done), "what is finished is not written again"
    following = golden.begin_round("desk", 1, "a", 40.0)
    assert following is not None
    assert following.number == 1


def test_old_rounds_go_but_the_first_one_stays(ledger):
    golden = ledger.golden
    golden.freeze(SET, EXAMPLES)
    for at in range(ROUNDS_KEPT + 5):
        begun = golden.begin_round("desk", 1, "a", float(at))
        assert begun is not None
        assert golden.save_round(replace(begun, answers={0: "x"}, finished=float(at)))
    numbers = [one.number for one in golden.rounds("desk", 1)]
    assert numbers[0] == 0
    assert numbers[1:] == list(range(5, ROUNDS_KEPT + 5))
    golden.rebase("desk", 1, 50)
    assert golden.newest("desk") == replace(SET, baseline=50)
    assert golden.rounds("desk", 1, since=50)[0].number == 50


def test_what_must_be_forgotten_is_not_asked_any_more(ledger):
    golden = ledger.golden
    golden.freeze(SET, [*EXAMPLES, GoldenExample(4, "of a file", "x")])
    assert golden.drop_examples(lambda exchange: exchange in ("ex_1", "ex_9", ""), "desk") == 1
    assert golden.drop_examples(lambda _: True, "other") == 0
    assert [one.text for one in golden.examples("desk", 1)] == ["text 0", "", "text 2", "text 3", "of a file"]
    assert golden.examples("desk", 1)[1].exchange == ""
