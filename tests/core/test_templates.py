import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from core.templates import (
    MessagePattern,
    build_template,
    compile_template,
    decode_template,
    encode_template,
    first_match,
    flatten,
)

BARE = compile_template("default", [("user", "{text}")])
WRAPPED = compile_template("wrapped", [("system", "Classify."), ("user", "Message: {text}\nLabel:")])
TWO_HOLES = compile_template("two", [("user", "Subject: {subject}\n\n{body}")])


@given(st.text())
def test_the_bare_template_reads_whatever_the_user_wrote(text):
    assert BARE.match([("user", text)]) == text


@given(st.text())
def test_a_wrapped_message_comes_back_whole(text):
    assert WRAPPED.match([("system", "Classify."), ("user", f"Message: {text}\nLabel:")]) == text


def test_several_holes_are_read_in_order():
    assert TWO_HOLES.match([("user", "Subject: late\n\nwhere is it")]) == "subject: late\nbody: where is it"


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [("user", "Message: x\nLabel:")],
        [("system", "classify."), ("user", "Message: x\nLabel:")],
        [("system", "Classify."), ("user", "Message: x")],
        [("system", "Classify."), ("user", "Message: x\nLabel:"), ("user", "more")],
        [("system", "Classify."), ("user", "Messag\nLabel:")],
    ],
)
def test_an_edited_prompt_does_not_match(messages):
    assert WRAPPED.match(messages) is None


def test_the_first_template_that_fits_is_taken():
    found = first_match([WRAPPED, BARE], [("user", "hello")])
    assert found is not None
    assert found[0] is BARE
    assert first_match([WRAPPED], [("user", "hello")]) is None


@pytest.mark.parametrize(
    ("content", "why"),
    [("no hole", "no hole"), ("{a} {a}", "hole twice"), ("{a}{b}", "holes touch")],
)
def test_a_template_that_could_not_be_read_back_is_refused(content, why):
    with pytest.raises(ValueError, match=why):
        compile_template("t", [("user", content)])


def test_the_version_follows_the_content_and_not_the_name():
    same = compile_template("other", [("user", "{text}")])
    assert same.version.split("@")[1] == BARE.version.split("@")[1]
    assert compile_template("default", [("user", " {text}")]).version != BARE.version


def test_matching_a_hostile_prompt_takes_no_time():
    template = compile_template("many", [("user", "a{x}a{y}a{z}a{w}b")])
    assert template.match([("user", "a" * 200_000 + "c")]) is None


@pytest.mark.parametrize(
    ("message", "flat"),
    [
        ({"role": "user", "content": "hi"}, [("user", "hi")]),
        ({"role": "user", "content": [{"type": "text", "text": "h"}, {"type": "text", "text": "i"}]}, [("user", "hi")]),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}, None),
        ({"role": "user", "content": [{"type": "text", "text": 3}]}, None),
        ({"role": "user", "content": None}, None),
        ({"role": 3, "content": "x"}, None),
        ({"role": "assistant", "content": "x", "tool_calls": [{}]}, None),
        ("not an object", None),
    ],
)
def test_only_messages_of_text_are_flattened(message, flat):
    assert flatten([message]) == flat


@given(st.text())
def test_a_request_can_be_made_again_of_its_text(text):
    assert BARE.render(text) == [("user", text)]
    assert WRAPPED.match(WRAPPED.render(text)) == text


@given(st.text(alphabet="ab: \n"), st.text(alphabet="xy\n"))
def test_several_holes_are_filled_in_order(subject, body):
    messages = [("user", f"Subject: {subject}\n\n{body}")]
    text = TWO_HOLES.match(messages)
    assert text is not None
    assert TWO_HOLES.render(text) == messages


@pytest.mark.parametrize("text", ["", "late", "subject: late", "body: late\nsubject: x", "x\nbody: late"])
def test_what_no_request_can_have_said_is_refused(text):
    with pytest.raises(ValueError, match=r"the hole '(subject|body)'"):
        TWO_HOLES.render(text)


def plain_match(template, messages):
    """What `Template.match` means, without what makes it fast."""
    if len(messages) != len(template.patterns):
        return None
    values = []
    for pattern, (role, content) in zip(template.patterns, messages, strict=True):
        found = pattern.match(role, content)
        if found is None:
            return None
        values += found
    if len(values) == 1:
        return values[0]
    return "\n".join(f"{name}: {value}" for name, value in zip(template.holes, values, strict=True))


some_role = st.sampled_from(["system", "user", "assistant"])
some_text = st.text(alphabet="ab \n", max_size=4)
some_messages = st.lists(st.tuples(some_role, some_text), max_size=3)


@st.composite
def some_template(draw):
    holes = iter("xyzuvw")
    patterns = []
    for role in draw(st.lists(some_role, min_size=1, max_size=3)):
        count = draw(st.integers(0, 2))
        inner = [draw(some_text.filter(bool)) for _ in range(count - 1)]
        literals = (draw(some_text), *inner, draw(some_text)) if count else (draw(some_text),)
        patterns.append(MessagePattern(role, literals, tuple(next(holes) for _ in range(count))))
    assume(any(pattern.holes for pattern in patterns))
    return build_template("t", patterns)


@settings(max_examples=300)
@given(some_template(), st.data())
def test_the_fast_way_reads_what_the_plain_one_does(template, data):
    fitting = [(p.role, "".join(data.draw(some_text) + literal for literal in p.literals)) for p in template.patterns]
    for messages in (fitting, data.draw(some_messages)):
        expected = plain_match(template, messages)
        assert template.match(messages) == expected
        assert first_match([template], messages) == (None if expected is None else (template, expected))


@given(some_template())
def test_a_stored_template_is_the_same_again(template):
    assert decode_template(encode_template(template)) == template


def test_text_in_braces_can_be_a_literal_in_a_stored_template():
    pattern = MessagePattern("system", ("Say {label}.",), ())
    template = build_template("t", [pattern, MessagePattern("user", ("", ""), ("text",))])
    again = decode_template(encode_template(template))
    assert again.holes == ("text",)
    assert again.match([("system", "Say {label}."), ("user", "x")]) == "x"


@pytest.mark.parametrize(
    "stored",
    [
        "nonsense",
        '{"name": "t", "messages": []}',
        '{"name": "t", "messages": [{"role": "user", "literals": [""], "holes": ["text"]}]}',
        '{"name": "t", "messages": [{"role": "user", "literals": ["", "", ""], "holes": ["a", "b"]}]}',
    ],
)
def test_what_is_no_stored_template_is_refused(stored):
    with pytest.raises(ValueError, match=r"template|malformed|hole"):
        decode_template(stored)
