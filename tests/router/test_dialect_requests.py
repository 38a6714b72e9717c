"""What is understood of a request, at each address."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidRequestError
from core.templates import compile_template, first_match
from router.dialects import all_dialects, chat_body

DIALECTS = all_dialects()
CHAT, COMPLETIONS, RESPONSES, EMBEDDINGS = (
    DIALECTS[path] for path in ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings")
)
TOOL = {"type": "function", "name": "f", "function": {"name": "f", "parameters": {}}}
SCHEMA = {"type": "json_schema", "name": "answer", "schema": {}, "json_schema": {"name": "answer", "schema": {}}}
IMAGE = {"type": "image_url", "image_url": {"url": "data:,"}}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def chat(**more):
    return CHAT.decode(json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}]} | more).encode())


def completions(**more):
    return COMPLETIONS.decode(json.dumps({"model": "m", "prompt": "hi"} | more).encode())


def responses(**more):
    return RESPONSES.decode(json.dumps({"model": "m", "input": "hi"} | more).encode())


def embeddings(**more):
    return EMBEDDINGS.decode(json.dumps({"model": "m", "input": "hi"} | more).encode())


def test_the_same_words_are_the_same_messages_at_each_address():
    assert chat().messages == completions().messages == responses().messages == [("user", "hi")]
    system = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]
    assert chat(messages=system).messages == responses(instructions="be brief").messages
    assert responses(input=system).messages == responses(instructions="be brief").messages
    assert completions(prompt=["hi"]).messages == completions().messages
    assert embeddings().messages is None


def test_a_template_fits_the_same_request_at_another_address():
    template = compile_template("brief", [("system", "Classify."), ("user", "Text: {text}")])
    asked = responses(instructions="Classify.", input="Text: where is it")
    assert first_match([template], asked.messages) == (template, "where is it")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "ab"),
        ([{"type": "text", "text": "a", "of_tomorrow": 1}], "a"),
        ([{"type": "text", "text": 1}], None),
        ([{"type": ["text"], "text": "a"}], None),
        ([{"type": "input_text", "text": "a"}], None),
        ([{"type": "text", "text": "a"}, IMAGE], None),
        (["a"], None),
        (None, None),
        (7, None),
        ({"text": "a"}, None),
    ],
)
def test_content_of_chat_messages(content, text):
    assert chat(messages=[{"role": "user", "content": content}]).messages == (
        None if text is None else [("user", text)]
    )


@pytest.mark.parametrize(
    ("item", "pair"),
    [
        ({"role": "user", "content": "a"}, ("user", "a")),
        ({"type": "message", "role": "user", "content": "a"}, ("user", "a")),
        ({"role": "developer", "content": [{"type": "input_text", "text": "a"}]}, ("developer", "a")),
        (
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a"}]},
            ("assistant", "a"),
        ),
        ({"role": "user", "content": [{"type": "input_image", "image_url": "data:,"}]}, None),
        ({"role": "user", "content": [{"type": {}, "text": "a"}]}, None),
        ({"type": "function_call_output", "call_id": "c", "output": "a"}, None),
        ({"type": "item_reference", "id": "msg_1"}, None),
        ({"content": "a"}, None),
        ("a", None),
    ],
)
def test_items_of_a_responses_input(item, pair):
    assert responses(input=[item]).messages == (None if pair is None else [pair])


@pytest.mark.parametrize(
    "more",
    [
        {"tools": [TOOL]},
        {"functions": [{"name": "f"}]},
        {"n": 2},
        {"response_format": {"type": "json_object"}},
        {"response_format": SCHEMA},
        {"audio": {"voice": "a", "format": "wav"}},
        {"web_search_options": {}},
        {"messages": [{"role": "tool", "content": "3", "tool_call_id": "c"}]},
        {"messages": [{"role": "assistant", "content": "a", "tool_calls": [{"id": "c"}]}]},
        {"messages": [{"role": "assistant", "content": "a", "function_call": {"name": "f"}}]},
        {"messages": [{"role": "assistant", "content": "a", "audio": {"id": "a"}}]},
        {"messages": [{"role": None, "content": "a"}]},
        {"messages": [{}]},
    ],
)
def test_what_a_classifier_cannot_do_in_chat(more):
    assert chat(**more).messages is None


@pytest.mark.parametrize(
    "more",
    [
        {"n": 2},
        {"best_of": 2},
        {"echo": True},
        {"suffix": "there"},
        {"response_format": {"type": "json_object"}},
        {"prompt": [1, 2, 3]},
        {"prompt": [[1, 2], [3]]},
        {"prompt": [[1, 2]]},
        {"prompt": ["a", "b"]},
        {"prompt": []},
        {"prompt": None},
    ],
)
def test_what_a_classifier_cannot_do_in_completions(more):
    assert completions(**more).messages is None


@pytest.mark.parametrize(
    "more",
    [
        {"tools": [TOOL]},
        {"text": {"format": SCHEMA}},
        {"text": {"format": {"type": "json_object"}}},
        {"background": True},
        {"store": True},
        {"previous_response_id": "resp_1"},
        {"conversation": {"id": "conv_1"}},
        {"conversation": "conv_1"},
        {"prompt": {"id": "pmpt_1"}, "input": None},
        {"context_management": [{"type": "compaction"}]},
        {"instructions": [{"role": "system", "content": "a"}]},
        {"input": []},
        {"input": {"role": "user"}},
        {"input": 3},
    ],
)
def test_what_a_classifier_cannot_do_in_responses(more):
    assert responses(**more).messages is None


def test_plain_ways_to_say_the_default_are_within_a_classifiers_reach():
    assert chat(tools=[], functions=None, n=None, response_format={"type": "text"}, audio=None).messages is not None
    assert completions(n=1, best_of=1, echo=False, suffix="", response_format={"type": "text"}).messages is not None
    plain = {"tools": [], "text": {"format": {"type": "text"}, "verbosity": "low"}, "store": False, "background": False}
    assert responses(**plain, instructions=None, include=["reasoning.encrypted_content"]).messages is not None


def test_the_facts_of_a_request():
    asked = chat(stream=True, stream_options={"include_usage": True}, user="ann", max_tokens=9)
    assert (asked.stream, asked.wants_usage_chunk, asked.user, asked.max_output_tokens) == (True, True, "ann", 9)
    assert chat(max_tokens=9, max_completion_tokens=5).max_output_tokens == 5
    assert chat(safety_identifier="bob").user == "bob"
    assert chat(user="ann", safety_identifier="bob").user == "ann"
    assert not chat(stream=None, stream_options=None).stream
    assert not chat(stream=True, stream_options={"include_usage": None}).wants_usage_chunk
    asked = completions(stream=True, stream_options={"include_usage": True}, user="ann", max_tokens=9)
    assert (asked.stream, asked.wants_usage_chunk, asked.user, asked.max_output_tokens) == (True, True, "ann", 9)
    asked = responses(stream=True, safety_identifier="bob", max_output_tokens=99)
    assert (asked.stream, asked.wants_usage_chunk, asked.user, asked.max_output_tokens) == (True, False, "bob", 99)
    assert embeddings(user="ann").user == "ann"


def test_log_probabilities_are_counted_in_alternatives():
    assert chat().logprobs is None
    assert chat(top_logprobs=3).logprobs is None
    assert chat(logprobs=True).logprobs == 0
    assert chat(logprobs=True, top_logprobs=3).logprobs == 3
    assert completions().logprobs is None
    assert completions(logprobs=0).logprobs == 0
    assert completions(logprobs=5).logprobs == 5
    assert responses(top_logprobs=3).logprobs is None
    assert responses(include=["message.output_text.logprobs"]).logprobs == 0
    assert responses(include=["message.output_text.logprobs"], top_logprobs=3).logprobs == 3


def test_tokens_are_estimated_by_length_but_not_those_of_pictures():
    assert chat().prompt_tokens == pytest.approx(len(json.dumps({"model": "m", "messages": []})) / 4, abs=15)
    assert chat(messages=[{"role": "user", "content": "a" * 40_000}]).prompt_tokens == pytest.approx(10_000, abs=30)
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 1_000_000}}
    sound = {"type": "input_audio", "input_audio": {"data": "A" * 1_000_000, "format": "wav"}}
    asked = chat(messages=[{"role": "user", "content": [picture, sound, {"type": "text", "text": "a" * 4000}]}])
    assert asked.prompt_tokens == pytest.approx(1000 + 1000 + 1000, abs=100)


@pytest.mark.parametrize("path", DIALECTS)
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"3", b"\xff\xfe", b'{"model": "\xff"}', b"[" * 100_000])
def test_what_is_not_a_request_is_refused(path, body):
    with pytest.raises(InvalidRequestError):
        DIALECTS[path].decode(body)


@pytest.mark.parametrize(
    ("decode", "more", "param"),
    [
        (chat, {"model": 7}, "model"),
        (chat, {"messages": []}, "messages"),
        (chat, {"messages": "hi"}, "messages"),
        (chat, {"messages": ["hi"]}, "messages[0]"),
        (chat, {"top_logprobs": 21}, "top_logprobs"),
        (chat, {"stream": "yes"}, "stream"),
        (chat, {"n": "two"}, "n"),
        (chat, {"stream_options": {"include_usage": 3}}, "stream_options.include_usage"),
        (completions, {"logprobs": True}, "logprobs"),
        (completions, {"logprobs": -1}, "logprobs"),
        (completions, {"user": 7}, "user"),
        (responses, {"input": None}, "input"),
        (responses, {"top_logprobs": -1}, "top_logprobs"),
        (responses, {"text": "plain"}, "text"),
        (responses, {"temperature": "hot"}, "temperature"),
        (embeddings, {"input": None}, "input"),
        (embeddings, {"model": None}, "model"),
    ],
)
def test_an_error_names_the_field_at_fault(decode, more, param):
    with pytest.raises(InvalidRequestError) as caught:
        decode(**more)
    assert caught.value.param == param


@pytest.mark.parametrize("path", DIALECTS)
def test_a_missing_model_is_named(path):
    with pytest.raises(InvalidRequestError, match="model"):
        DIALECTS[path].decode(b'{"messages": [{}], "input": "a", "prompt": "a"}')


@given(st.dictionaries(st.text().map("x_".__add__), json_values, max_size=5))
def test_fields_that_do_not_exist_yet_change_nothing(extra):
    for decode in (chat, completions, responses, embeddings):
        assert msgspec.structs.replace(decode(**extra), prompt_tokens=0, given=None) == msgspec.structs.replace(
            decode(), prompt_tokens=0, given=None
        )


@given(st.sampled_from(list(DIALECTS)), st.dictionaries(st.text(), json_values, max_size=5), json_values, json_values)
def test_any_json_is_read_or_refused(path, body, first, second):
    fields = {"model": "m", "messages": first, "input": first, "prompt": first, "stream": second, "text": second}
    for document in (body, body | fields, [body]):
        try:
            found = DIALECTS[path].decode(json.dumps(document).encode())
        except InvalidRequestError:
            continue
        assert found.messages is None or all(isinstance(text, str) for _, text in found.messages)


@given(st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), st.text()), min_size=1, max_size=4))
def test_messages_make_the_round_through_the_chat_body_of_a_student(pairs):
    items = [{"role": role, "content": text} for role, text in pairs]
    asked = responses(input=items)
    assert CHAT.decode(RESPONSES.student_body(b"", asked, "desk")).messages == pairs == chat(messages=items).messages
    prompt = completions(prompt=pairs[0][1])
    assert CHAT.decode(COMPLETIONS.student_body(b"", prompt, "desk")).messages == [("user", pairs[0][1])]


def test_a_student_gets_the_clients_own_chat_body_under_the_tasks_name():
    body = b'{"model":"gpt-4o", "messages":[{"role":"user","content":"hi"}],"seed":7}'
    asked = CHAT.decode(body)
    assert CHAT.student_body(body, asked, "gpt-4o") is body
    assert json.loads(CHAT.student_body(body, asked, "desk")) == json.loads(body) | {"model": "desk"}


def test_a_chat_body_asks_for_what_the_client_asked():
    asked = responses(include=["message.output_text.logprobs"], top_logprobs=3, max_output_tokens=16)
    assert json.loads(chat_body(asked, "big", logprobs=True)) == {
        "model": "big",
        "messages": [{"role": "user", "content": "hi"}],
        "max_completion_tokens": 16,
        "logprobs": True,
        "top_logprobs": 3,
    }
    assert "logprobs" not in json.loads(chat_body(asked, "big"))
    with pytest.raises(ValueError, match="more than text"):
        chat_body(embeddings(), "big")
