"""What is learnt of requests that no template fits."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.templates import compile_template, first_match
from router.templates.likeness import suggest
from router.templates.unmatched import ENOUGH, MAX_FAMILIES, MAX_SHAPES, Unmatched

TEXTS = [
    "where is my refund?",
    "I was charged twice!",
    "my card has not arrived",
    "how do I close my account?",
    "the app crashes",
    "Wo bleibt mein Geld?",
    "refund please",
    "cancel it.",
]


def contents(template):
    return [(pattern.role, pattern.content) for pattern in template.patterns]


def learn(unmatched: Unmatched, *requests, at: float = 1.0) -> Unmatched:
    for number, messages in enumerate(requests):
        unmatched.note([(role, text) for role, text in messages], f"ex_{number}", "ann", at)
        asyncio.run(unmatched.learn())
    return unmatched


def shapes(unmatched: Unmatched):
    return [contents(shape.template) for family in unmatched.families for shape in family.shapes]


def classify(text):
    return [("user", f"Classify this ticket: {text}\nAnswer with one label.")]


def test_an_edited_prompt_becomes_a_suggestion_once_enough_examples_were_seen():
    unmatched = learn(Unmatched(), *map(classify, TEXTS[: ENOUGH - 1]))
    assert shapes(unmatched) == []
    learn(unmatched, classify(TEXTS[0]), classify(TEXTS[0]))  # the same again tells nothing
    assert shapes(unmatched) == []
    learn(unmatched, classify(TEXTS[-1]))
    assert shapes(unmatched) == [[("user", "Classify this ticket: {text}\nAnswer with one label.")]]
    (family,) = unmatched.families
    assert family.shapes[0].requests == ENOUGH + 2
    assert family.rest.requests == 0
    learn(unmatched, *map(classify, TEXTS))
    assert (family.shapes[0].requests, family.rest.requests) == (ENOUGH + 2 + len(TEXTS), 0)


def test_messages_that_differ_in_the_last_user_message_alone_belong_together_however_short_the_rest():
    frame = [("system", "Sort."), ("user", "hi"), ("assistant", "greeting")]
    unmatched = learn(Unmatched(), *([*frame, ("user", text)] for text in TEXTS))
    assert shapes(unmatched) == [[*frame, ("user", "{text}")]]


def test_a_short_prompt_is_suggested_for_all_that_was_seen():
    unmatched = learn(Unmatched(), *([("user", f"Sort: {text}")] for text in TEXTS))
    (family,) = unmatched.families
    assert family.shapes == []
    assert contents(family.rest.template) == [("user", "Sort: {text}")]


def test_what_the_first_examples_have_in_common_by_chance_goes_again():
    chance = [f"my order {number} has not come yet" for number in ("one", "two", "six", "ten", "four")]
    unmatched = learn(Unmatched(), *map(classify, [*chance, *TEXTS]))
    assert shapes(unmatched) == [[("user", "Classify this ticket: {text}\nAnswer with one label.")]]
    changes = unmatched.take_changes()
    assert len(changes) > 1
    assert changes[-1].after.requests == len(chance) + len(TEXTS)
    assert unmatched.take_changes() == []


def test_another_job_in_the_same_task_is_another_suggestion():
    jobs = [
        [("user", prompt + text)]
        for text in TEXTS
        for prompt in ("Classify this support ticket: ", "Translate the following into French: ")
    ]
    unmatched = learn(Unmatched(), *jobs)
    assert sorted(shapes(unmatched)) == [
        [("user", "Classify this support ticket: {text}")],
        [("user", "Translate the following into French: {text}")],
    ]
    # A third does not spoil what is known, and free text stays the rest.
    learn(unmatched, *([("user", text)] for text in TEXTS))
    assert len(shapes(unmatched)) == 2
    (family,) = unmatched.families
    assert contents(family.rest.template) == [("user", "{text}")]


def test_braces_in_a_prompt_stay_literal():
    unmatched = learn(Unmatched(), *([("system", "Answer as {label}."), ("user", text)] for text in TEXTS))
    template = unmatched.families[0].shapes[0].template
    assert template.holes == ("text",)
    assert template.match([("system", "Answer as {label}."), ("user", "x")]) == "x"
    assert template.match([("system", "Answer as y."), ("user", "x")]) is None


def test_nothing_grows_without_bound():
    drawn = random.Random(1)
    unmatched = Unmatched()
    for number in range(3000):
        roles = [drawn.choice(["user", "assistant", "system", f"made up {number}"]) for _ in range(drawn.randint(1, 5))]
        prompt = f"prompt number {drawn.randint(0, 400)} is a long one: "
        unmatched.note([(role, prompt + str(number)) for role in roles], f"ex_{number}", "", number + 1.0)
        if number % 50 == 0:
            asyncio.run(unmatched.learn())
            assert sum(group.requests for f in unmatched.families for group in (f.rest, *f.shapes)) == number + 1
    asyncio.run(unmatched.learn())
    families = unmatched.families
    assert len(families) <= MAX_FAMILIES + 1
    assert all(len(family.shapes) <= MAX_SHAPES for family in families)
    assert sum(len(group.examples) for family in families for group in (family.rest, *family.shapes)) < 1000
    unmatched.note([("user", "x" * 100_000)], "ex", "", 1.0)
    assert all("x" * 100 not in example.messages[0][1] for family in families for example in family.waiting)


def test_the_family_that_was_seen_longest_ago_makes_room():
    unmatched = Unmatched()
    for number in range(MAX_FAMILIES + 1):
        learn(unmatched, [("user", "a")] * (number + 1), at=float(number + 1))
    assert () in [family.roles for family in unmatched.families]
    learn(unmatched, [("assistant", "b")], at=99.0)
    unmatched.shed(0.0)
    unmatched.note([("assistant", "b")], "ex", "", 99.0)
    known = [family.roles for family in unmatched.families]
    assert ("assistant",) in known
    assert ("user",) not in known
    unmatched.shed(50.0)
    assert [family.roles for family in unmatched.families] == [("assistant",), ()]


def test_what_has_become_known_is_dropped():
    unmatched = learn(Unmatched(), *map(classify, TEXTS), [("user", "bare")])
    template = compile_template("v2", classify("{text}"))
    unmatched.drop_known([template])
    (family,) = unmatched.families
    assert family.shapes == []
    assert [example.messages for example in family.rest.examples] == [(("user", "bare"),)]


def test_a_suggestion_that_rests_on_forgotten_examples_goes():
    unmatched = learn(Unmatched(), *map(classify, TEXTS[:ENOUGH]), [("user", "bare")])
    (family,) = unmatched.families
    unmatched.expire(lambda example: example.exchange == "ex_1")
    assert len(family.shapes[0].examples) == ENOUGH - 1
    unmatched.forget(lambda example: example.exchange == "ex_2")
    assert family.shapes == []
    unmatched.forget(lambda example: example.user == "ann")
    assert family.rest.examples == []


conversation = st.lists(st.text(alphabet="ab .:\n{}", max_size=12), min_size=2, max_size=2)


@given(st.lists(conversation, min_size=2, max_size=8))
def test_a_suggestion_fits_every_example_and_gives_back_its_text(examples):
    roles = ("system", "user")
    messages = [tuple(zip(roles, example, strict=True)) for example in examples]
    template = suggest(messages)
    assert (template is None) == (len({tuple(example) for example in examples}) == 1)
    if template is not None:
        assert all(first_match([template], example) is not None for example in messages)
        if len(template.holes) == 1:
            assert all(template.render(template.match(example)) == list(example) for example in messages)


@pytest.mark.parametrize(
    ("texts", "suggested"),
    [
        (["Ticket: apple", "Ticket: avocado"], "Ticket: {text}"),
        (["Say: yes?\nLabel:", "Say: no?\nLabel:"], "Say: {text}\nLabel:"),
        (['"one" is what', '"two" is what'], '"{text}" is what'),
        (["one", "two"], "{text}"),
        (["aXa", "a"], "{text}"),
        (["- -", "-"], "-{text}"),
    ],
)
def test_literals_end_between_words(texts, suggested):
    template = suggest([(("user", text),) for text in texts])
    assert template is not None
    assert contents(template) == [("user", suggested)]


def test_different_roles_have_nothing_in_common():
    assert suggest([(("user", "a"),), (("system", "b"),)]) is None


def test_a_suggestion_whose_examples_are_too_old_finds_another():
    unmatched = learn(Unmatched(), *map(classify, TEXTS))
    unmatched.expire(lambda example: True)
    (family,) = unmatched.families
    learn(unmatched, classify("later"), classify("Answer."))
    (example,) = family.shapes[0].examples
    assert example.messages == tuple(classify("later"))
    assert shapes(unmatched) == [[("user", "Classify this ticket: {text}\nAnswer with one label.")]]


def test_what_others_have_found_is_counted_as_that():
    found = learn(Unmatched(), *map(classify, TEXTS)).families[0].shapes[0].template
    unmatched = Unmatched()
    unmatched.adopt(found, 1.0)
    unmatched.adopt(found, 1.0)
    learn(unmatched, classify(TEXTS[0]), at=2.0)
    (family,) = unmatched.families
    assert shapes(unmatched) == [contents(found)]
    assert (family.shapes[0].requests, family.rest.requests) == (1, 0)
    wide = compile_template("suggested", [("user", "Classify this {text}\nAnswer with one label.")])
    unmatched.adopt(wide, 2.0)
    unmatched.adopt(found, 2.0)
    assert shapes(unmatched) == [contents(wide)]
    assert [change.before == found for change in unmatched.take_changes()] == [True, True]
    assert family.shapes[0].requests == 1


def test_no_request_is_counted_twice_however_they_come():
    unmatched = Unmatched()
    for number, text in enumerate(TEXTS * 2):
        unmatched.note(classify(text), f"ex_{number}", "", 1.0)
    asyncio.run(unmatched.learn())
    (family,) = unmatched.families
    assert (family.rest.requests, family.shapes[0].requests) == (0, 2 * len(TEXTS))
