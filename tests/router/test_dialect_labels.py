"""A label as each dialect says it, read by OpenAI's own client and its models."""

import json
import math

import httpx2
import openai
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent

from core.records import Usage
from router.dialects import Heard, LabelAnswer, Part, Request, all_dialects
from router.sse import EventSplitter, data_of

DIALECTS = all_dialects()
CHAT, COMPLETIONS, RESPONSES, EMBEDDINGS = DIALECTS.values()
SPREAD = [("refund", 0.75), ("order", 0.2), ("praise", 0.05)]
VENDOR = {"version": "3", "label": "refund", "confidence": 0.75}
ANSWER = LabelAnswer("ex_01jd8q4m7e3v9k2r5t6w8x0yza", "refund", Usage(12, 1), SPREAD)
TALKING = (CHAT, COMPLETIONS, RESPONSES)
BODIES = {
    "chat": {"model": "desk", "messages": [{"role": "user", "content": "hi"}]},
    "completions": {"model": "desk", "prompt": "hi"},
    "responses": {"model": "desk", "input": "hi"},
}
LOGPROBS = {
    "chat": {"logprobs": True, "top_logprobs": 2},
    "completions": {"logprobs": 2},
    "responses": {"include": ["message.output_text.logprobs"], "top_logprobs": 2},
}
MODELS = {
    "chat": (ChatCompletion, ChatCompletionChunk),
    "completions": (Completion, Completion),
    "responses": (Response, ResponseStreamEvent),
}


def strict(model, data):
    """Validate as strictly as the type is written, where the client itself only constructs."""
    return pydantic.TypeAdapter(model).validate_json(data)


def decoded(dialect, **more):
    return dialect.decode(json.dumps(BODIES[dialect.name] | more).encode())


def data_of_all(events):
    splitter = EventSplitter()
    found = [data_of(event) for event in splitter.feed(events)]
    assert not splitter.rest
    return found


def client_of(body, content_type):
    """OpenAI's client, whose every request is answered with this."""
    answer = httpx2.Response(200, content=body, headers={"content-type": content_type})
    transport = httpx2.MockTransport(lambda request: answer)
    return openai.OpenAI(base_url="http://gateway/v1", api_key="k", http_client=httpx2.Client(transport=transport))


def json_client(dialect, request, answer=ANSWER):
    return client_of(dialect.whole(request, answer), "application/json")


def event_client(dialect, request, answer=ANSWER):
    return client_of(dialect.events(request, answer), "text/event-stream; charset=utf-8")


@pytest.mark.parametrize("dialect", TALKING, ids=lambda dialect: dialect.name)
@pytest.mark.parametrize("logprobs", [False, True])
@pytest.mark.parametrize("usage", [False, True])
def test_the_clients_types_hold_everything_that_we_say(dialect, logprobs, usage):
    whole, part = MODELS[dialect.name]
    options = {"stream": True, "stream_options": {"include_usage": usage}} if dialect is not RESPONSES else {}
    request = decoded(dialect, **(LOGPROBS[dialect.name] if logprobs else {}), **options)
    strict(whole, dialect.whole(request, ANSWER))
    for data in data_of_all(dialect.events(request, ANSWER)):
        if data != b"[DONE]":
            strict(part, data)


@given(st.text(), st.text(min_size=1), st.integers(0, 2**40), st.floats(0, 1))
def test_any_label_makes_the_round(label, model, tokens, probability):
    answer = LabelAnswer("ex_01", label, Usage(tokens, 1), [(label, probability)])
    for dialect in TALKING:
        request = Request(model, [("user", "hi")], wants_usage_chunk=True, logprobs=5)
        completion = dialect.read(dialect.whole(request, answer))
        assert (completion.content, completion.model, completion.id) == (label, model, "ex_01")
        assert completion.tokens == Usage(tokens, 1)
        assert completion.first_token_logprobs == {label: pytest.approx(math.log(max(probability, 1e-7)))}
        heard = Heard()
        parts = [dialect.hear(data, heard) for data in data_of_all(dialect.events(request, answer))]
        assert (heard.text, heard.model, heard.id, heard.usage) == (label, model, "ex_01", Usage(tokens, 1))
        assert parts[-1] is (Part.LAST if dialect is RESPONSES else Part.DONE)
        assert parts.count(Part.USAGE) == (0 if dialect is RESPONSES else 1)


def test_a_chat_completion():
    request = decoded(CHAT, **LOGPROBS["chat"])
    found = json_client(CHAT, request).chat.completions.create(**BODIES["chat"])
    assert (found.id, found.model, found.choices[0].message.content) == (ANSWER.id, "desk", "refund")
    assert found.choices[0].finish_reason == "stop"
    token = found.choices[0].logprobs.content[0]
    assert (token.token, token.logprob) == ("refund", pytest.approx(math.log(0.75)))
    assert [top.token for top in token.top_logprobs] == ["refund", "order"]
    assert (found.usage.prompt_tokens, found.usage.total_tokens) == (12, 13)


def test_a_streamed_chat_completion_as_the_client_accumulates_it():
    request = decoded(CHAT, stream=True, stream_options={"include_usage": True}, **LOGPROBS["chat"])
    with event_client(CHAT, request).chat.completions.stream(**BODIES["chat"]) as stream:
        found = stream.get_final_completion()
    assert found.choices[0].message.content == "refund"
    assert found.choices[0].logprobs.content[0].top_logprobs[1].token == "order"
    assert found.usage.total_tokens == 13


def test_the_chosen_label_has_its_own_log_probability_even_without_alternatives():
    found = json.loads(CHAT.whole(decoded(CHAT, logprobs=True), ANSWER))["choices"][0]["logprobs"]["content"][0]
    assert found["logprob"] == pytest.approx(math.log(0.75))
    assert found["top_logprobs"] == []


def test_a_text_completion():
    request = decoded(COMPLETIONS, logprobs=2)
    found = json_client(COMPLETIONS, request).completions.create(**BODIES["completions"])
    assert (found.object, found.id, found.choices[0].text) == ("text_completion", ANSWER.id, "refund")
    logprobs = found.choices[0].logprobs
    assert (logprobs.tokens, logprobs.token_logprobs) == (["refund"], [pytest.approx(math.log(0.75))])
    assert set(logprobs.top_logprobs[0]) == {"refund", "order"}
    assert logprobs.text_offset == [0]
    assert found.usage.total_tokens == 13


@pytest.mark.parametrize("usage", [False, True])
def test_a_streamed_text_completion(usage):
    request = decoded(COMPLETIONS, stream=True, stream_options={"include_usage": usage})
    chunks = list(event_client(COMPLETIONS, request).completions.create(**BODIES["completions"], stream=True))
    assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == "refund"
    assert chunks[0].choices[0].finish_reason == "stop"
    assert (chunks[-1].usage is not None) is usage
    assert len(chunks) == 1 + usage


def test_a_response():
    asked = {
        "instructions": "be brief",
        "metadata": {"a": "b"},
        "temperature": 0,
        "user": "ann",
        "max_output_tokens": 16,
    }
    request = decoded(RESPONSES, **asked, **LOGPROBS["responses"])
    found = json_client(RESPONSES, request).responses.create(**BODIES["responses"])
    assert (found.id, found.object, found.status, found.output_text) == (ANSWER.id, "response", "completed", "refund")
    assert found.model_dump(include=set(asked)) == asked
    assert found.store is False
    assert found.output[0].content[0].logprobs[0].top_logprobs[1].token == "order"
    assert (found.usage.input_tokens, found.usage.output_tokens, found.usage.total_tokens) == (12, 1, 13)


def test_a_streamed_response_event_by_event():
    request = decoded(RESPONSES, stream=True, **LOGPROBS["responses"])
    events = list(event_client(RESPONSES, request).responses.create(**BODIES["responses"], stream=True))
    assert [event.type for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in events] == list(range(9))
    assert len({event.item_id for event in events if hasattr(event, "item_id")}) == 1
    assert events[4].logprobs[0].token == "refund"
    assert events[0].response.usage is None
    assert events[-1].response.usage.total_tokens == 13


def test_every_event_of_a_response_names_its_type_beside_its_data():
    for event in EventSplitter().feed(RESPONSES.events(decoded(RESPONSES), ANSWER)):
        name, _, rest = event.partition(b"\n")
        assert name == b"event: " + json.loads(data_of(rest))["type"].encode()


def test_the_clients_own_accumulation_of_a_response():
    with event_client(RESPONSES, decoded(RESPONSES, stream=True)).responses.stream(**BODIES["responses"]) as stream:
        snapshots = [event.snapshot for event in stream if event.type == "response.output_text.delta"]
        found = stream.get_final_response()
    assert snapshots == ["refund"]
    assert found.output_text == "refund"


def test_parse_reads_a_response_of_plain_text():
    found = json_client(RESPONSES, decoded(RESPONSES)).responses.parse(**BODIES["responses"])
    assert found.output_text == "refund"
    assert found.output_parsed is None


@pytest.mark.parametrize("dialect", TALKING, ids=lambda dialect: dialect.name)
def test_the_vendor_field_stands_in_the_answer_where_it_is_wanted(dialect):
    answer = LabelAnswer(ANSWER.id, "refund", Usage(), vendor=VENDOR)
    request = decoded(dialect)
    assert "tutelage" not in json.loads(dialect.whole(request, ANSWER))
    assert json.loads(dialect.whole(request, answer))["tutelage"] == VENDOR
    chunks = [json.loads(data) for data in data_of_all(dialect.events(request, answer)) if data != b"[DONE]"]
    carriers = [chunk.get("response", chunk) for chunk in chunks]
    assert [carrier["tutelage"] for carrier in carriers if "tutelage" in carrier] == [VENDOR]


def test_embeddings_say_no_labels():
    assert not EMBEDDINGS.says_labels
    request = Request("m")
    for say in (EMBEDDINGS.whole, EMBEDDINGS.events):
        with pytest.raises(TypeError, match="says_labels"):
            say(request, ANSWER)
    with pytest.raises(TypeError, match="says_labels"):
        EMBEDDINGS.student_body(b"", request, "desk")
