"""What goes to an upstream, and what is understood of its answer."""

import json

import httpx2
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import UpstreamError
from core.records import Usage
from router.dialects import Heard, Part, all_dialects

DIALECTS = all_dialects()
CHAT, COMPLETIONS, RESPONSES, EMBEDDINGS = DIALECTS.values()
EVERY = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=lambda dialect: dialect.name)
STREAMED = pytest.mark.parametrize("dialect", [CHAT, COMPLETIONS, RESPONSES], ids=lambda dialect: dialect.name)
INPUT = {"messages": [{"role": "user", "content": "hi"}], "prompt": "hi", "input": "hi"}


def body_of(**more):
    return json.dumps({"model": "desk"} | INPUT | more).encode()


def sent(dialect, body, model="big"):
    return dialect.upstream_body(body, dialect.decode(body), model)


@EVERY
def test_only_the_models_name_is_replaced(dialect):
    body = b'{"temperature": 0.10, "model":"desk","big":12345678901234567890,"x":{"a" : [1.0,null]},"y":"\\u00e9",'
    body += json.dumps(INPUT).encode()[1:]
    found = sent(dialect, body)
    for kept in (b"0.10", b"12345678901234567890", b'{"a" : [1.0,null]}', b'"\\u00e9"'):
        assert kept in found
    assert json.loads(found) == json.loads(body) | {"model": "big"}


@EVERY
def test_a_body_that_needs_no_change_is_not_touched(dialect):
    body = body_of(model="big")
    assert sent(dialect, body) is body


@STREAMED
def test_usage_is_asked_for_where_a_stream_does_not_tell_it_unasked(dialect):
    found = json.loads(sent(dialect, body_of(stream=True)))
    assert found.get("stream_options") == (None if dialect is RESPONSES else {"include_usage": True})
    found = json.loads(sent(dialect, body_of(stream=True, stream_options={"of_tomorrow": 1})))
    extra = {} if dialect is RESPONSES else {"include_usage": True}
    assert found["stream_options"] == {"of_tomorrow": 1} | extra
    assert "stream_options" not in json.loads(sent(dialect, body_of(stream=False)))


@STREAMED
def test_a_client_that_asks_for_usage_itself_is_not_changed(dialect):
    body = body_of(model="big", stream=True, stream_options={"include_usage": True})
    assert sent(dialect, body) is body


def test_a_text_completion_is_read():
    logprobs = {"tokens": ["re", "fund"], "token_logprobs": [-0.1, -0.2], "top_logprobs": [{"re": -0.1, "or": -2}, {}]}
    choice = {"index": 0, "text": "refund", "logprobs": logprobs, "finish_reason": "stop"}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5, "details": {}}
    found = COMPLETIONS.read(json.dumps({"id": "cmpl-1", "model": "m", "choices": [choice], "usage": usage}).encode())
    assert (found.id, found.model, found.content, found.tokens) == ("cmpl-1", "m", "refund", Usage(3, 2))
    assert found.first_token_logprobs == {"re": -0.1, "or": -2}
    assert COMPLETIONS.read(b'{"choices": []}').content is None
    assert COMPLETIONS.read(b'{"choices": [{"text": "a", "logprobs": null}], "usage": null}').content == "a"


def response(**more):
    reasoning = {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [],
        "content": [{"type": "reasoning_text", "text": "hm"}],
    }
    token = {"token": "re", "logprob": -0.1, "top_logprobs": [{"token": "re", "logprob": -0.1}, {"token": "or"}]}
    text = {"type": "output_text", "text": "refund", "annotations": [], "logprobs": [token]}
    message = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [text]}
    call = {"type": "function_call", "name": "f", "arguments": "{}", "call_id": "c"}
    usage = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5, "input_tokens_details": {"cached_tokens": 0}}
    head = {"id": "resp_1", "object": "response", "model": "m", "status": "completed", "error": None}
    return head | {"output": [reasoning, message, call, {"type": "of_tomorrow"}], "usage": usage} | more


def test_a_response_is_read():
    found = RESPONSES.read(json.dumps(response()).encode())
    assert (found.id, found.model, found.content, found.tokens) == ("resp_1", "m", "refund", Usage(3, 2))
    assert found.first_token_logprobs == {"re": -0.1}
    queued = RESPONSES.read(json.dumps(response(status="queued", output=[], usage=None)).encode())
    assert (queued.content, queued.tokens) == (None, Usage())


def test_embeddings_are_read():
    data = [{"object": "embedding", "index": 0, "embedding": "AAAA"}]
    body = {"object": "list", "data": data, "model": "e", "usage": {"prompt_tokens": 8, "total_tokens": 8}}
    found = EMBEDDINGS.read(json.dumps(body).encode())
    assert (found.content, found.model, found.tokens) == (None, "e", Usage(8, 0))


@EVERY
@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'{"choices": 3, "data": 3, "output": 3}', b"[" * 99_999]
)
def test_rubbish_is_not_an_answer(dialect, body):
    with pytest.raises(UpstreamError, match="is not a"):
        dialect.read(body)


def heard_of(dialect, *chunks):
    heard = Heard()
    return heard, [dialect.hear(json.dumps(chunk).encode(), heard) for chunk in chunks]


def test_a_chat_stream_is_heard():
    head = {"id": "chatcmpl-1", "model": "m", "object": "chat.completion.chunk"}
    heard, parts = heard_of(
        CHAT,
        {"id": "", "model": "", "choices": [], "prompt_filter_results": []},
        head | {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]},
        head | {"choices": [{"index": 0, "delta": {"content": "re"}}], "usage": None},
        head | {"choices": [{"index": 0, "delta": {"content": "fund", "of_tomorrow": 1}, "finish_reason": "stop"}]},
        head | {"choices": [{"index": 0, "delta": {"content": [{"type": "of_tomorrow"}]}}]},
        head | {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}},
    )
    assert (heard.id, heard.model, heard.text, heard.usage) == ("chatcmpl-1", "m", "refund", Usage(3, 2))
    assert parts == [Part.CONTENT] * 5 + [Part.USAGE]
    assert CHAT.hear(b"[DONE]", heard) is Part.DONE


def test_usage_beside_text_is_not_kept_from_the_client():
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    heard, parts = heard_of(CHAT, {"choices": [{"delta": {"content": "a"}}], "usage": usage})
    assert (parts, heard.usage) == ([Part.CONTENT], Usage(3, 2))
    heard, parts = heard_of(COMPLETIONS, {"choices": [{"text": "a"}], "usage": usage})
    assert (parts, heard.usage) == ([Part.CONTENT], Usage(3, 2))


def test_a_stream_of_text_completions_is_heard():
    head = {"id": "cmpl-1", "model": "m", "object": "text_completion"}
    heard, parts = heard_of(
        COMPLETIONS,
        head | {"choices": [{"index": 0, "text": "re", "finish_reason": None}]},
        head | {"choices": [{"index": 0, "text": "fund", "finish_reason": "stop"}]},
        head | {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}},
    )
    assert (heard.id, heard.model, heard.text, heard.usage) == ("cmpl-1", "m", "refund", Usage(3, 2))
    assert parts == [Part.CONTENT, Part.CONTENT, Part.USAGE]
    assert COMPLETIONS.hear(b"[DONE]", heard) is Part.DONE


@pytest.mark.parametrize("end", ["response.completed", "response.incomplete", "response.failed"])
def test_a_stream_of_response_events_is_heard(end):
    failed = {"error": {"code": "server_error", "message": "the GPU fell off"}} if end == "response.failed" else {}
    heard, parts = heard_of(
        RESPONSES,
        {"type": "response.created", "sequence_number": 0, "response": response(output=[], usage=None)},
        {"type": "response.output_item.added", "sequence_number": 1, "item": {"type": "message"}},
        {"type": "response.output_text.delta", "sequence_number": 2, "delta": "ref"},
        {"type": "response.function_call_arguments.delta", "sequence_number": 3, "delta": "{}"},
        {"type": "response.of_tomorrow", "sequence_number": 4, "delta": {"a": 1}},
        {"type": "response.output_text.delta", "sequence_number": 5, "delta": "und"},
        {"type": end, "sequence_number": 6, "response": response(**failed)},
    )
    assert (heard.id, heard.model, heard.text, heard.usage) == ("resp_1", "m", "refund", Usage(3, 2))
    assert parts == [Part.CONTENT] * 6 + [Part.LAST]
    assert ("the GPU fell off" in heard.failure) is (end == "response.failed")


def test_a_response_without_deltas_is_read_from_its_end():
    heard, parts = heard_of(RESPONSES, {"type": "response.completed", "sequence_number": 1, "response": response()})
    assert (parts, heard.text) == ([Part.LAST], "refund")


@STREAMED
@pytest.mark.parametrize("error", [{"message": "out of memory", "code": 500}, "out of memory"])
def test_an_error_within_a_stream_is_told(dialect, error):
    with pytest.raises(UpstreamError, match="out of memory"):
        heard_of(dialect, {"error": error})


def test_the_error_event_of_responses_is_told():
    with pytest.raises(UpstreamError, match="out of memory"):
        heard_of(RESPONSES, {"type": "error", "code": "server_error", "message": "out of memory", "sequence_number": 3})


@STREAMED
@pytest.mark.parametrize("data", [b"", b"{", b"3", b"[]", b'{"choices": 3, "response": 3}', b"[" * 99_999, b"\xff"])
def test_rubbish_is_not_an_event(dialect, data):
    with pytest.raises(UpstreamError):
        dialect.hear(data, Heard())


@given(st.sampled_from(list(DIALECTS)), st.binary())
def test_no_bytes_break_a_reader(path, data):
    dialect = DIALECTS[path]
    for read in (dialect.read, lambda data: dialect.hear(data, Heard())):
        try:
            read(data)
        except UpstreamError:
            continue


@STREAMED
def test_a_stream_that_failed_raises_in_the_client(dialect):
    heard = Heard(sequence_number=4)
    event = dialect.error_event(UpstreamError("the teacher broke off"), heard)
    answer = httpx2.Response(200, content=event, headers={"content-type": "text/event-stream"})
    transport = httpx2.MockTransport(lambda request: answer)
    client = openai.OpenAI(base_url="http://gateway/v1", api_key="k", http_client=httpx2.Client(transport=transport))
    ask = {"chat": client.chat.completions, "completions": client.completions, "responses": client.responses}
    arguments = {"chat": "messages", "completions": "prompt", "responses": "input"}[dialect.name]
    with pytest.raises(openai.APIError, match="the teacher broke off"):
        list(ask[dialect.name].create(model="desk", stream=True, **{arguments: INPUT[arguments]}))


def test_the_error_event_of_responses_is_numbered_on():
    event = RESPONSES.error_event(UpstreamError("broke off"), Heard(sequence_number=4))
    assert event.startswith(b"event: error\ndata: ")
    found = json.loads(event.partition(b"data: ")[2])
    assert (found["type"], found["sequence_number"], found["code"]) == ("error", 5, "upstream_error")
    assert found["error"]["message"] == found["message"] == "broke off"
