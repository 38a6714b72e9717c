"""OpenAI's Python client, unchanged but for its base URL."""

from __future__ import annotations

import json
from typing import Literal

import openai
import pytest
from pydantic import BaseModel

QUESTION = "where is my parcel"
MESSAGES = [{"role": "user", "content": QUESTION}]
TOOL = {"type": "function", "name": "look_up", "parameters": {"type": "object", "properties": {}}, "strict": False}


class Verdict(BaseModel):
    label: Literal["refund_status", "order_status"]


@pytest.fixture
def client(house):
    with openai.OpenAI(base_url=house.url, api_key="unused", max_retries=0) as client:
        yield client


@pytest.fixture
def async_client(house):
    return openai.AsyncOpenAI(base_url=house.url, api_key="unused", max_retries=0)


@pytest.fixture
def structured(house):
    """The task's teacher and the default upstream answer with JSON."""
    before = house.teacher.label
    house.teacher.label = json.dumps({"label": "refund_status"})
    yield
    house.teacher.label = before


def test_chat(client):
    found = client.chat.completions.create(model="desk", messages=MESSAGES, logprobs=True, top_logprobs=3)
    assert found.choices[0].message.content == "order_status"
    assert len(found.choices[0].logprobs.content[0].top_logprobs) == 3


def test_chat_streamed(client):
    options = {"include_usage": True}
    with client.chat.completions.stream(model="desk", messages=MESSAGES, stream_options=options) as stream:
        found = stream.get_final_completion()
    assert found.choices[0].message.content == "order_status"
    assert found.usage.total_tokens == 5


def test_chat_parsed(client, structured):
    found = client.chat.completions.parse(model="desk", messages=MESSAGES, response_format=Verdict)
    assert found.choices[0].message.parsed == Verdict(label="refund_status")


def test_completions(client):
    assert client.completions.create(model="desk", prompt=QUESTION).choices[0].text == "order_status"
    chunks = client.completions.create(model="desk", prompt=QUESTION, stream=True, logprobs=2)
    assert "".join(chunk.choices[0].text for chunk in chunks) == "order_status"


def test_completions_of_a_teacher(client, house):
    found = client.completions.create(model="desk", prompt=QUESTION, echo=True)
    assert (found.id, found.choices[0].text) == ("cmpl-teacher", "refund_status")
    assert house.teacher.paths[-1] == "/v1/completions"
    chunks = list(client.completions.create(model="desk", prompt=QUESTION, suffix="?", stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == "refund_status"
    assert all(chunk.choices for chunk in chunks), "the usage that the gateway asked for is kept from the client"


def test_responses(client):
    found = client.responses.create(model="desk", input=QUESTION)
    assert found.output_text == "order_status"
    assert found.usage.input_tokens == 4
    listed = client.responses.create(model="desk", input=[{"role": "user", "content": QUESTION}])
    assert listed.output_text == "order_status"


def test_responses_streamed(client):
    with client.responses.stream(model="desk", input=QUESTION) as stream:
        deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
        assert stream.get_final_response().output_text == "".join(deltas) == "order_status"


def test_responses_of_a_teacher(client, house):
    found = client.responses.create(model="desk", input=QUESTION, tools=[TOOL])
    assert (found.id, found.output_text) == ("resp_teacher", "refund_status")
    assert found.model_extra["a_field_of_tomorrow"] == {"kept": True}
    assert house.teacher.requests[-1]["tools"] == [TOOL]
    with client.responses.stream(model="desk", input=QUESTION, instructions="as no template has it") as stream:
        assert stream.get_final_response().output_text == "refund_status"
    assert "stream_options" not in house.teacher.requests[-1]


def test_responses_parsed(client, structured):
    found = client.responses.parse(model="desk", input=QUESTION, text_format=Verdict)
    assert found.output_parsed == Verdict(label="refund_status")
    with client.responses.stream(model="desk", input=QUESTION, text_format=Verdict) as stream:
        assert stream.get_final_response().output_parsed == Verdict(label="refund_status")


def test_embeddings(client, house):
    assert client.embeddings.create(model="desk", input="a").data[0].embedding == [0.25, -0.5]
    assert house.teacher.paths[-1] == "/v1/embeddings"
    assert client.embeddings.create(model="big-embedder", input=["a"]).model == "big-embedder"
    assert house.upstream.paths[-1] == "/v1/embeddings"


def test_models_that_are_no_task_go_to_the_default_upstream(client, house):
    found = client.chat.completions.create(model="big-model", messages=MESSAGES, n=1)
    assert (found.model, found.choices[0].message.content) == ("big-model", "from elsewhere")
    stream = client.responses.create(model="big-model", input="hi", stream=True)
    assert "".join(event.delta for event in stream if event.type == "response.output_text.delta") == "from elsewhere"
    assert house.upstream.requests[-1]["model"] == "big-model"


@pytest.mark.parametrize("model", ["small-model", "Desk", "gpt-4o-mini"])
def test_any_other_model_is_not_found(client, model):
    asked = [
        lambda: client.chat.completions.create(model=model, messages=MESSAGES),
        lambda: client.completions.create(model=model, prompt="hi"),
        lambda: client.responses.create(model=model, input="hi"),
        lambda: client.embeddings.create(model=model, input="hi"),
        lambda: client.models.retrieve(model),
    ]
    for ask in asked:
        with pytest.raises(openai.NotFoundError) as caught:
            ask()
        assert caught.value.code == "model_not_found"


def test_models(client):
    assert {"desk", "gpt-4o"} <= {model.id for model in client.models.list()}
    assert client.models.retrieve("gpt-4o").id == "gpt-4o"


def test_errors_name_the_field(client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="desk", input=QUESTION, top_logprobs=99)
    assert caught.value.param == "top_logprobs"


async def test_the_async_client(async_client):
    async with async_client as client:
        chat = await client.chat.completions.create(model="desk", messages=MESSAGES)
        assert chat.choices[0].message.content == "order_status"
        chunks = await client.chat.completions.create(model="desk", messages=MESSAGES, stream=True)
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in chunks]) == "order_status"
        async with client.responses.stream(model="desk", input=QUESTION) as stream:
            assert (await stream.get_final_response()).output_text == "order_status"
        pieces = await client.completions.create(model="desk", prompt=QUESTION, stream=True)
        assert "".join([piece.choices[0].text async for piece in pieces]) == "order_status"


async def test_the_async_client_parses(async_client, structured):
    async with async_client as client:
        found = await client.chat.completions.parse(model="desk", messages=MESSAGES, response_format=Verdict)
        assert found.choices[0].message.parsed == Verdict(label="refund_status")
        response = await client.responses.parse(model="desk", input=QUESTION, text_format=Verdict)
        assert response.output_parsed == Verdict(label="refund_status")
